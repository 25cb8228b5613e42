"""Serves an environment: what a script calls last."""

import inspect
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from ...errors import ConfigError
from ...wire.launch_args import ENV_OPTIONS, ENV_SOCKET
from .. import compat
from ..arguments import parse_blendtorch_args
from ..session import Session, current_session
from .base_env import BaseEnv
from .base_vector_env import BaseVectorEnv
from .server import EnvServer

# In a window, each time that Blender's event loop comes by: how long requests are served, and how long they are waited for
# once there are none, so that the window stays usable.
_TURN_S = 0.02
_WAIT_S = 0.003
_PAUSE_S = 0.001

Environment = BaseEnv | BaseVectorEnv
Maker = Environment | Callable[..., Environment]

# What `run` hands over to, in place of serving.
_taker: Callable[[Maker, bool], None] | None = None


def run(env: Maker, *, real_time: bool = False) -> None:
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
    if _taker is not None:
        _taker(env, real_time)
        return
    session = current_session()
    if session is None or session.script_args is None:
        parse_blendtorch_args()
        session = current_session()
    assert session is not None
    made = make_env(env, {} if isinstance(env, BaseEnv | BaseVectorEnv) else _options(session))
    args = session.args
    server = EnvServer(
        made,
        args.btsockets[ENV_SOCKET],
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
    if args.control is not None and bpy.context.preferences.view.show_splash:
        bpy.context.preferences.view.show_splash = False  # it would cover what one wants to see
        bpy.context.preferences.is_dirty = False  # and is nothing to be saved
    # Persistent: an episode may open another file.
    bpy.app.timers.register(lambda: _serve_in_window(server, session), persistent=True)


@contextmanager
def handed_over(take: Callable[[Maker, bool], None]) -> Iterator[None]:
    """Within, `run` serves nothing and returns at once: whoever executes a script for its environment serves that itself.

    Args:
        take: Called with what `run` was given: the environment or what makes it, and `real_time`.
    """
    global _taker
    before, _taker = _taker, take
    try:
        yield
    finally:
        _taker = before


def make_env(env: Maker, options: dict[str, Any]) -> Environment:
    """The environment that `run` was given, or is made by what it was given.

    Args:
        env: What `run` takes.
        options: Keyword arguments for what makes it.

    Raises:
        ConfigError: Something else is made.
    """
    if isinstance(env, BaseEnv | BaseVectorEnv):
        return env
    try:
        inspect.signature(env).bind(**options)
    except TypeError as error:
        raise ConfigError(
            f"{getattr(env, '__name__', env)} cannot be made with the options {options}: {error}. They are the client's "
            "env_options; num_agents is num_envs / num_instances of a BlenderVectorEnv. A BaseEnv has one agent: give it "
            "as many instances as environments."
        ) from None
    made = env(**options)
    if not isinstance(made, BaseEnv | BaseVectorEnv):
        raise ConfigError(
            f"btb.env.run was given {env!r}, which makes a {type(made).__name__}, expected a BaseEnv or a BaseVectorEnv."
        )
    return made


def _serve_in_window(server: EnvServer, session: Session) -> float:
    until = time.perf_counter() + _TURN_S
    while server.serve(_WAIT_S) and time.perf_counter() < until:
        pass
    session.published = server.steps
    return _PAUSE_S


def _options(session: Session) -> dict[str, Any]:
    argv = session.script_args or []
    if ENV_OPTIONS not in argv:
        return {}
    try:
        options = json.loads(argv[argv.index(ENV_OPTIONS) + 1])
    except (IndexError, ValueError) as error:
        raise ConfigError(f"{ENV_OPTIONS} is not followed by a JSON object: {error}.") from None
    if not isinstance(options, dict):
        raise ConfigError(f"{ENV_OPTIONS} is followed by {options!r}, expected a JSON object.")
    return options
