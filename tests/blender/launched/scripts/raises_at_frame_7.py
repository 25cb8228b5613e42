from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
anim = btb.AnimationController()


def post_frame():
    if anim.frameid == 7:
        raise ZeroDivisionError("a mistake at frame 7")
    channel.publish(frameid=anim.frameid)


anim.post_frame.add(post_frame)
anim.play(frame_range=(1, 10), num_episodes=-1)
