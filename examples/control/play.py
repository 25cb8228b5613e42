"""Shows what train_ppo.py has learned, as an animation: somebody pushes the cart now and then.

python examples/control/play.py --policy out/control/policy.zip --out out/control/policy.gif
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image
from stable_baselines3 import PPO

from blendtorch import btt  # noqa: F401  (makes the environment known to Gymnasium)

# In steps of 1/50 s: a push is the motor at full speed, which the policy is not asked about.
PUSH_EVERY, PUSH = 65, 3
STEPS_PER_PICTURE = 3
ROWS = slice(40, 200)  # of 240: nothing happens in the others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", type=Path, default=Path("out/control/policy.zip"), help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=270, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/control/policy.gif"), help="(default: %(default)s)")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    if not args.policy.is_file():
        parser.error(f"there is no policy {args.policy}: train_ppo.py makes one.")
    policy = PPO.load(args.policy, device="cpu")
    pictures = []
    with gymnasium.make("blendtorch/CartPole-v0", render_mode="rgb_array", blend_path=args.blender) as env:
        observation, _ = env.reset(seed=args.seed)
        for step in range(args.steps):
            if step % STEPS_PER_PICTURE == 0:
                pictures.append(env.render()[ROWS])
            action, _ = policy.predict(observation, deterministic=True)
            pushes, since = divmod(step, PUSH_EVERY)
            if pushes and since < PUSH:
                action = np.array([1 if pushes % 2 else -1], np.float32)
            observation, _, fallen, truncated, _ = env.step(action)
            if fallen or truncated:
                break
        step_ms = 1000 / env.metadata["render_fps"]
    print(f"{step + 1} steps, {step // PUSH_EVERY} pushes; {'fallen' if fallen else 'balanced to the end'}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.fromarray(picture).quantize(64) for picture in pictures]
    first.save(args.out, save_all=True, append_images=others, duration=STEPS_PER_PICTURE * step_ms, loop=0)
    print(f"wrote {args.out}: {len(pictures)} pictures, {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
