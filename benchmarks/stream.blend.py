"""Runs inside Blender for stream.py: publishes samples that are not rendered.

    stream.blend.py                        on command: {"channel", "kind", "samples", "interval_s"} on the socket CTRL
    stream.blend.py endless NAME           frames on the channel NAME, as long as somebody takes them
    stream.blend.py pickle NAME NAME ...   the same, pickled, on plain ZeroMQ sockets: the reference

Whoever waits for a command or a receiver uses no CPU, so that all instances can live through the whole benchmark.
"""

import time
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import count

import zmq
from stream_samples import samples

from blendtorch import btb


def publish(channel: btb.BlenderOutputChannel, kind: str, numbers: Iterable[int], interval_s: float = 0) -> None:
    """Publishes samples, as fast as they are taken or one every `interval_s` seconds."""
    sources = prepared(kind)
    due_s = time.monotonic()
    for i in numbers:
        fields = sources[i % len(sources)]
        if interval_s:
            due_s += interval_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            # The system's monotonic clock is the same one in all processes.
            fields = fields | {"sent_s": time.monotonic()}
        channel.publish(**fields, frameid=i)


def publish_pickles(addresses: Sequence[str], btid: int) -> None:
    """Sends pickled frames to whoever has room for one: at a time stream.py reads from one of the addresses only."""
    poller = zmq.Poller()
    for address in addresses:
        socket = zmq.Context.instance().socket(zmq.PUSH)
        socket.setsockopt(zmq.SNDHWM, 10)
        socket.bind(address)
        poller.register(socket, zmq.POLLOUT)
    sources = prepared("frame")
    for i in count():
        for socket, _ in poller.poll():
            socket.send_pyobj({**sources[i % len(sources)], "frameid": i, "btid": btid}, protocol=5)


def obey(addresses: dict[str, str], btid: int) -> None:
    """Publishes what is asked for."""
    commands = btb.DuplexChannel(addresses["CTRL"], btid)
    channels: dict[str, btb.BlenderOutputChannel] = {}
    while True:
        command = commands.recv(timeoutms=None)
        name = command["channel"]
        if name not in channels:  # most instances need only some of the channels, and each has its shared memory
            # Ten samples of 200 bytes are made in less time than it takes to wake up.
            send_hwm = 100 if command["kind"] == "small" else 10
            channels[name] = btb.BlenderOutputChannel(addresses[name], btid, send_hwm)
        publish(channels[name], command["kind"], range(command["samples"]), command["interval_s"])


prepared = cache(samples)
btargs, (role, *names) = btb.parse_blendtorch_args()
sockets = btargs.btsockets
if role == "pickle":
    publish_pickles([sockets[name] for name in names], btargs.btid)
elif role == "endless":
    publish(btb.BlenderOutputChannel(sockets[names[0]], btargs.btid), "frame", count())
else:
    obey(sockets, btargs.btid)
