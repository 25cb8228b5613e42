from blendtorch import btb

btb.parse_blendtorch_args()
