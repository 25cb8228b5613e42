"""Publishes each index on two channels; the one that is made last is published on first."""

from blendtorch import btb

btargs, (stop,) = btb.parse_blendtorch_args()
slow = btb.BlenderOutputChannel(btargs.btsockets["SLOW"], btargs.btid)
fast = btb.BlenderOutputChannel(btargs.btsockets["FAST"], btargs.btid)
for index in btb.sample_indices(btargs.btid, btargs.num_instances, stop=int(stop)):
    fast.publish(number=index)
    slow.publish(number=10 * index)
