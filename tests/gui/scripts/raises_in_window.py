from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
anim = btb.AnimationController()
anim.pre_frame.add(lambda: 1 / (3 - anim.frameid))
anim.post_frame.add(lambda: channel.publish(frameid=anim.frameid))
anim.play((1, 10), num_episodes=1)
