"""A client of the panel's environment that speaks only the wire, for Blender's Pythons have no Gymnasium; and texts."""

import bpy
import numpy as np
from engine_turns import wait_for

from blendtorch.errors import PeerTimeout
from blendtorch.wire import Kind, Message
from blendtorch.wire.sockets import MessageSocket

COUNTING = """
import bpy
import numpy as np
from blendtorch import btb

class Counting(btb.env.BaseEnv):
    observation_space = btb.env.spaces.Box(-1e6, 1e6, (1,))
    action_space = btb.env.spaces.Box(-1, 1, (1,))
    max_episode_steps = 3

    def __init__(self):
        self.cube = bpy.data.objects["Cube"]

    def reset(self, rng, options):
        self.rewind()
        return np.array([bpy.context.scene.frame_current], np.float32)

    def step(self, action):
        self.advance()
        self.cube.location.x += float(action[0])
        return np.array([bpy.context.scene.frame_current], np.float32), 2.0, False, False

    def close(self):
        bpy.context.scene["closed"] = bpy.context.scene.get("closed", 0) + 1
"""
"""Each step is one frame and rewarded by 2, an episode has three; the scene counts how often it was closed."""


class Client:
    """Asks for something, and makes turns of the engine until it is answered.

    Args:
        address: Where the environment is served.
    """

    def __init__(self, address: str) -> None:
        self._socket = MessageSocket("pair", address, bind=False)
        self._number = 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, call: str, **arguments: object) -> None:
        """Sends a request, and waits for nothing."""
        self._number += 1
        self._socket.send(Message(Kind.REQUEST, {"call": call, **arguments}, 0, seq=self._number), 5)

    def answer(self) -> Message:
        """The next message, for which turns are made."""
        got: list[Message] = []

        def take() -> bool:
            try:
                got.append(self._socket.recv(0))
            except PeerTimeout:
                return False
            return True

        wait_for(take)
        return got[0]

    def farewell(self) -> Message:
        """The next message, of an environment that has ended."""
        return self._socket.recv(5)

    def ask(self, call: str, **arguments: object) -> Message:
        """Sends a request, and gives what it is answered with."""
        self.send(call, **arguments)
        message = self.answer()
        assert message.seq == self._number
        return message

    def open(self, real_time: bool | None = None) -> dict:
        """Opens the environment: episodes begin by `reset` alone."""
        return self.ask("open", autoreset="Disabled", real_time=real_time).body

    def reset(self, agents: int = 1) -> Message:
        """Begins the first episode of all agents."""
        rows = np.arange(agents)
        return self.ask("reset", agents=rows, seeds=[0] * agents, episodes=[0] * agents, options={})

    def step(self, action: float = 0.0) -> Message:
        """Plays a step of one agent."""
        return self.ask("step", actions=[np.full((1, 1), action, np.float32)])


def set_text(code: str, name: str = "environment.py", **settings: object) -> bpy.types.Text:
    """Has the panel set to a text of that code, at any free port."""
    text = bpy.data.texts.new(name)
    text.write(code)
    group = bpy.context.scene.blendtorch_environment
    group.text, group.port = text, 0
    for key, value in settings.items():
        setattr(group, key, value)
    return text
