"""Serves an environment: what a script calls last."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ...errors import ConfigError
from .. import compat
from ..arguments import parse_blendtorch_args
from ..session import Session, current_session
from .base_env import BaseEnv
from .base_vector_env import BaseVectorEnv
from .server import EnvServer

SOCKET = "ENV"
OPTIONS = "--env-options"

# In a window, each time that Blender's event loop comes by: how long requests are served, and how long they are waited for
# once there are none, so that the window stays usable.
_TURN_S = 0.02
_WAIT_S = 0.003
_PAUSE_S = 0.001

Environment = BaseEnv | BaseVectorEnv


def run(env: Environment | Callable[..., Environment], *, real_time: bool = False) -> None:
    """Serves an environment to Gymnasium, at the socket "ENV" of the launch, until the client's process ends.

    In background mode this does not return. In a window it returns at once, and requests are served between Blender's own
    events.

    Args:
        env: An environment, or its class (or any function that makes one), which is called with the `env_options` of the
            client.
        real_time: Whether the simulation goes on at its frame rate whatever the agent does, unless the client says. Then
            `info` carries `lag_steps` and `lag_s`.

    Raises:
        ConfigError: What the environment declares cannot be, or it takes no such options.
    """
    session = current_session()
    if session is None or session.script_args is None:
        parse_blendtorch_args()
        session = current_session()
    assert session is not None
    made = env if isinstance(env, BaseEnv | BaseVectorEnv) else _make(env, _options(session))
    args = session.args
    server = EnvServer(
        made,
        args.btsockets[SOCKET],
        args.btid,
        real_time=real_time,
        curve=session.curve,
        folder=None if args.folder is None else Path(args.folder),
        shm=args.shm_bytes > 0,
    )
    session.add_channel(server)
    if compat.is_background():
        while True:
            server.serve(None)
            session.published = server.steps
    bpy.app.timers.register(lambda: _serve_in_window(server, session))


def _serve_in_window(server: EnvServer, session: Session) -> float:
    until = time.perf_counter() + _TURN_S
    while server.serve(_WAIT_S) and time.perf_counter() < until:
        pass
    session.published = server.steps
    return _PAUSE_S


def _options(session: Session) -> dict[str, Any]:
    argv = session.script_args or []
    if OPTIONS not in argv:
        return {}
    try:
        options = json.loads(argv[argv.index(OPTIONS) + 1])
    except (IndexError, ValueError) as error:
        raise ConfigError(f"{OPTIONS} is not followed by a JSON object: {error}.") from None
    if not isinstance(options, dict):
        raise ConfigError(f"{OPTIONS} is followed by {options!r}, expected a JSON object.")
    return options


def _make(make: Callable[..., Environment], options: dict[str, Any]) -> Environment:
    made = make(**options)
    if not isinstance(made, BaseEnv | BaseVectorEnv):
        raise ConfigError(
            f"btb.env.run was given {make!r}, which makes a {type(made).__name__}, expected a BaseEnv or a BaseVectorEnv."
        )
    return made
