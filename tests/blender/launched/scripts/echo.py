"""Sends back what comes, doubled; ends on {"stop": True}."""

from blendtorch import btb

btargs, _ = btb.parse_blendtorch_args()
channel = btb.DuplexChannel(btargs.btsockets["CTRL"], btargs.btid)
while True:
    message = channel.recv(timeoutms=None)
    if message.get("stop"):
        break
    channel.send(doubled=2 * message["value"], of=message["btmid"])
