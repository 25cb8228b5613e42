import os
import signal

from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
channel.publish(last_words="none")  # waits for a client, so the hello has left, too
print("about to die", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
