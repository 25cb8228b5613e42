"""The pole as a picture: what an agent that has no numbers to look at would see.

python examples/control/pixels.py --steps 500 --out out/control
"""

import argparse
import time
from pathlib import Path

import gymnasium
import numpy as np

from blendtorch import btt

TILES, COLUMNS = 12, 6
EVERY = 4  # steps from one picture of the montage to the next


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500, help="of each Blender (default: %(default)s)")
    parser.add_argument("--instances", type=int, default=1, help="Blenders (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/control"), help="folder (default: %(default)s)")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    env = gymnasium.make_vec(
        "blendtorch/CartPolePixels-v0",
        num_envs=args.instances,  # a picture shows one cart
        num_instances=args.instances,
        blend_path=args.blender,
    )
    try:
        env.action_space.seed(0)
        observations, _ = env.reset(seed=0)
        pictures = [observations[0]]
        started = time.perf_counter()
        for step in range(1, args.steps + 1):
            observations, *_ = env.step(env.action_space.sample())
            if step % EVERY == 0 and len(pictures) < TILES:
                pictures.append(observations[0])
        seconds = time.perf_counter() - started
    finally:
        env.close()
    print(
        f"observations are {observations.dtype} {observations.shape}, {observations.min()} to {observations.max()}; "
        f"{args.steps * args.instances / seconds:.0f} steps/s"
    )
    large = [np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1) for picture in pictures]
    args.out.mkdir(parents=True, exist_ok=True)
    btt.montage(large, columns=min(COLUMNS, len(large))).save(args.out / "pixels.png")
    print(f"wrote {args.out / 'pixels.png'}")


if __name__ == "__main__":
    main()
