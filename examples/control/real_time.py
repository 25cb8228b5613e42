"""Balances the pole while the simulation goes on at its rate, and shows what comes of thinking for too long.

python examples/control/real_time.py --think-ms 100
"""

import argparse
import time

import gymnasium
import numpy as np
from p_controller import control

from blendtorch import btt  # noqa: F401  (makes the environment known to Gymnasium)

WARM_UP_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--think-ms", type=float, default=0, help="before each action (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of an episode, at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: %(default)s)")
    parser.add_argument("--headless", action="store_true", help="without Blender's window")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    mode = None if args.headless else "human"
    with gymnasium.make("blendtorch/CartPole-v0", render_mode=mode, real_time=True, blend_path=args.blender) as env:
        if mode == "human":
            warm_up(env)
        for seed in range(args.seed, args.seed + args.episodes):
            observation, _ = env.reset(seed=seed)
            started, total, fallen, over, lags = time.perf_counter(), 0.0, False, False, []
            while not over and time.perf_counter() - started < args.seconds:
                time.sleep(args.think_ms / 1000)  # an agent with a larger network
                observation, reward, fallen, truncated, info = env.step(control(observation))
                total, over = total + reward, fallen or truncated
                lags.append((info["lag_steps"], 1000 * info["lag_s"]))
            steps, milliseconds = np.array(lags).T
            print(
                f"seed {seed}: {len(lags)} actions in {total:.0f} steps of the simulation, "
                f"{time.perf_counter() - started:.1f} s; lag_steps {np.median(steps):.0f} (at most {steps.max():.0f}), "
                f"lag_s {np.median(milliseconds):.0f} ms (at most {milliseconds.max():.0f}); "
                f"{'fallen' if fallen else 'balanced'}",
                flush=True,
            )


def warm_up(env: gymnasium.Env) -> None:
    """Plays until a new window has been drawn: shaders are compiled then, which may take seconds."""
    until = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < until:
        observation, _ = env.reset()
        over = False
        while not over and time.perf_counter() < until:
            observation, _, fallen, truncated, _ = env.step(control(observation))
            over = fallen or truncated


if __name__ == "__main__":
    main()
