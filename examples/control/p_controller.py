"""Balances the pole with four gains, and nothing learned.

python examples/control/p_controller.py --episodes 3
"""

import argparse
import time

import gymnasium
import numpy as np

from blendtorch import btt  # noqa: F401  (makes the environment known to Gymnasium)

# Of the cart's position (m) and speed (m/s), the pole's angle (rad) and angular speed (rad/s). All are positive: the cart
# goes to where the pole leans, and, away from the middle, a bit farther out, so that the pole leans back to the middle.
GAINS = np.array([0.06, 0.35, 2.8, 0.65], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: %(default)s)")
    parser.add_argument("--human", action="store_true", help="look on in Blender's window")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    mode = "human" if args.human else None
    with gymnasium.make("blendtorch/CartPole-v0", render_mode=mode, blend_path=args.blender) as env:
        step_s = 1 / env.metadata["render_fps"] if args.human else 0.0  # nobody sees 5000 steps a second
        for seed in range(args.seed, args.seed + args.episodes):
            observation, _ = env.reset(seed=seed)
            total, farthest, over = 0.0, np.abs(observation), False
            while not over:
                due = time.perf_counter() + step_s
                observation, reward, terminated, truncated, _ = env.step(control(observation))
                total, over = total + reward, terminated or truncated
                farthest = np.maximum(farthest, np.abs(observation))
                time.sleep(max(0.0, due - time.perf_counter()))
            print(
                f"seed {seed}: return {total:.0f}; at most {farthest[0]:.2f} m off the middle and "
                f"{np.degrees(farthest[2]):.1f} degrees off upright",
                flush=True,
            )


def control(observations: np.ndarray) -> np.ndarray:
    """The motor's speed, -1 .. 1 of the highest one, for observations (..., 4): (..., 1) float32."""
    return np.clip(observations @ GAINS, -1, 1)[..., None].astype(np.float32)


if __name__ == "__main__":
    main()
