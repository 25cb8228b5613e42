"""How many steps a second does an agent get out of Blender, and what limits them?

Each environment is compared with the bare loop of frames of the same scene in the same Blender, and the trivial one with a
step loop of the predecessor's kind: pickled dicts over REQ and REP. Every round measures all of them, one after the other.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import zmq
from report import Row, parser, row_of_rounds, show

from blendtorch import btt

SCRIPT = Path(__file__).parent / "env.blend.py"
AGENTS = 64
SUBSTEPS = 10  # Blender's default
TIMEOUT_MS = 30_000

# What limits each row.
REMARKS = {
    "bare-frame-set": "Blender, the default scene",
    "req-rep": "waking four threads a round trip",
    "pickle-loop": "as req-rep; pickling; Blender",
    "single": "Blender; Python at both ends",
    "bare-frame-set/cartpole": "Blender: one cart, 1 substep",
    "single/cartpole": "numpy on single numbers, in Blender; setting the motor",
    "bare-frame-set/64": f"Bullet: 64 carts, {SUBSTEPS} substeps; frames",
    "bare-motors/64": "as before, and 64 motors set: Blender evaluates their objects anew",
    "agents/64": "as bare-motors/64",
    "bare-frame-set/64-fast": "Blender's frames: 64 carts, 1 substep",
    "agents/64-fast": "as bare-frame-set/64-fast; motors",
    "blenders/2": "two cores, on which three processes run",
    "bare-draw": "drawing 84 x 84, Solid, and a frame",
    "image-84": "as bare-draw",
}


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
    scale, rounds = (0.25, 3) if args.quick else (1.0, 9)
    with ExitStack() as stack:
        measures = make_measures(stack, args.blender, scale)
        for measure in measures.values():
            measure()  # the first pictures compile shaders, the first steps fill caches
        results = []
        for i in range(rounds):
            names = list(measures)[:: -1 if i % 2 else 1]
            found = {name: measures[name]() for name in names}
            results.append({name: found[name] for name in measures})
    show("Steps of environments", make_rows(results), args.json)


def make_measures(stack: ExitStack, blender: str | None, scale: float) -> dict[str, Callable[[], float]]:
    """What measures each row: steps (of an agent) a second."""

    def env(kind: str, **options: object) -> btt.env.BlenderEnv:
        return stack.enter_context(
            btt.env.BlenderEnv(script=SCRIPT, blend_path=blender, env_options={"kind": kind, **options})
        )

    def vector(num_instances: int, substeps: int) -> btt.env.BlenderVectorEnv:
        options = {"kind": "cartpole", "substeps": substeps}
        made = btt.env.BlenderVectorEnv(
            script=SCRIPT,
            num_envs=AGENTS * num_instances,
            num_instances=num_instances,
            blend_path=blender,
            env_options=options,
        )
        return stack.enter_context(made)

    trivial, cartpole, pixels = env("trivial"), env("cartpole"), env("pixels")
    one, fast, two = vector(1, SUBSTEPS), vector(1, 1), vector(2, SUBSTEPS)
    round_trips = stack.enter_context(req_rep())
    pickles = stack.enter_context(pickle_loop(blender))

    def count(steps: int) -> int:
        return max(1, round(steps * scale))

    return {
        "bare-frame-set": lambda: bare(trivial, count(8000)),
        "req-rep": lambda: round_trips(count(4000)),
        "pickle-loop": lambda: pickles(count(4000)),
        "single": lambda: step(trivial, count(4000)),
        "bare-frame-set/cartpole": lambda: bare(cartpole, count(8000)),
        "single/cartpole": lambda: step(cartpole, count(3000)),
        "bare-frame-set/64": lambda: AGENTS * bare(one, count(200)),
        "bare-motors/64": lambda: AGENTS * bare(one, count(200), with_motors=True),
        "agents/64": lambda: step_many(one, count(200)),
        "blenders/2": lambda: step_many(two, count(200)),
        "bare-frame-set/64-fast": lambda: AGENTS * bare(fast, count(600)),
        "agents/64-fast": lambda: step_many(fast, count(600)),
        "bare-draw": lambda: bare(pixels, count(200)),
        "image-84": lambda: step(pixels, count(200)),
    }


def make_rows(rounds: list[dict[str, float]]) -> list[Row]:
    """The rows, each compared with what it is to be compared with."""
    ratios = {
        "bare-frame-set": "bare-frame-set",
        "req-rep": "pickle-loop",
        "pickle-loop": "pickle-loop",
        "single": "pickle-loop",
        "bare-frame-set/cartpole": "bare-frame-set",
        "single/cartpole": "bare-frame-set/cartpole",
        "bare-frame-set/64": "bare-frame-set/64",
        "bare-motors/64": "bare-frame-set/64",
        "agents/64": "bare-frame-set/64",
        "blenders/2": "agents/64",
        "bare-frame-set/64-fast": "bare-frame-set/64",
        "agents/64-fast": "bare-frame-set/64-fast",
        "bare-draw": "bare-draw",
        "image-84": "bare-draw",
    }
    return [row_of_rounds(rounds, name, "steps/s", to, REMARKS[name]) for name, to in ratios.items()]


def bare(env: btt.env.BlenderEnv | btt.env.BlenderVectorEnv, count: int, with_motors: bool = False) -> float:
    """Frames a second of the environment's scene in a loop inside its Blender."""
    _, info = env.reset(options={"bare": count, "with_motors": with_motors})
    return count / float(np.ravel(info["bare_s"])[0])


def step(env: btt.env.BlenderEnv, count: int) -> float:
    """Steps a second of one agent that acts at random; resets do not count."""
    env.action_space.seed(1)
    actions = [env.action_space.sample() for _ in range(16)]
    env.reset(seed=1)
    seconds = 0.0
    for i in range(count):
        started = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(actions[i % 16])
        seconds += time.perf_counter() - started
        if terminated or truncated:
            env.reset()
    return count / seconds


def step_many(env: btt.env.BlenderVectorEnv, count: int) -> float:
    """Steps a second of all agents together, which balance, so that episodes end rarely."""
    gains = np.array([0.3, 0.6, 4, 0.6], np.float32)
    observations, _ = env.reset(seed=1)
    for _ in range(5):
        observations, *_ = env.step(np.zeros((env.num_envs, 1), np.float32))
    started = time.perf_counter()
    for _ in range(count):
        observations, *_ = env.step(np.clip(observations @ gains, -1, 1)[:, None])
    return count * env.num_envs / (time.perf_counter() - started)


@contextmanager
def req_rep() -> Iterator[Callable[[int], float]]:
    """Round trips a second of an action's bytes and an observation's, between two Python processes."""
    address = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_reply, args=(address[1],), daemon=True)
    process.start()
    with connected(address[0].recv()) as socket:

        def measure(count: int) -> float:
            started = time.perf_counter()
            for _ in range(count):
                socket.send(b"\0" * 4)
                socket.recv()
            return count / (time.perf_counter() - started)

        yield measure
    process.terminate()
    process.join()


def _reply(pipe: "multiprocessing.connection.Connection") -> None:
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.bind("tcp://127.0.0.1:*")
    pipe.send(socket.getsockopt_string(zmq.LAST_ENDPOINT))
    while True:
        socket.recv()
        socket.send(b"\0" * 21)


@contextmanager
def pickle_loop(blender: str | None) -> Iterator[Callable[[int], float]]:
    """Steps a second of the predecessor's kind."""
    with btt.BlenderLauncher(
        script=SCRIPT,
        named_sockets=["ENV"],
        blend_path=blender,
        proto="tcp",
        instance_args=[["--env-options", json.dumps({"kind": "pickles"})]],
    ) as launcher:
        with connected(launcher.launch_info.addresses["ENV"][0]) as socket:

            def measure(count: int) -> float:
                started = time.perf_counter()
                for _ in range(count):
                    socket.send_pyobj({"cmd": "step", "action": 0.5})
                    socket.recv_pyobj()
                return count / (time.perf_counter() - started)

            yield measure


@contextmanager
def connected(address: str) -> Iterator[zmq.Socket]:
    """A REQ socket."""
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
    socket.connect(address)
    try:
        yield socket
    finally:
        socket.close(linger=0)


if __name__ == "__main__":
    main()
