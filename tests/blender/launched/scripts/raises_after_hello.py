from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
raise KeyError("no such object")
