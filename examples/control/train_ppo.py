"""Learns to balance the pole with PPO of Stable-Baselines3, and tries what it has learned on starts it has not seen.

python examples/control/train_ppo.py --minutes 3 --out out/control
"""

import argparse
import time
from pathlib import Path

import gymnasium
import matplotlib
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from blendtorch import btt

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ENV = "blendtorch/CartPole-v0"
MOST = 500  # the highest return: an episode is cut off after so many steps
ROLLOUT = 2048  # steps of all environments together, after which the policy is updated
EPISODES = 20
FRESH_SEED = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5, help="stop after so many (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100_000, help="stop after so many (default: %(default)s)")
    parser.add_argument("--envs", type=int, default=32, help="carts, over all Blenders (default: %(default)s)")
    parser.add_argument("--instances", type=int, default=1, help="Blenders (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/control"), help="folder (default: %(default)s)")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    torch.set_num_threads(1)  # the network is too small for more
    env = gymnasium.make_vec(
        ENV,
        num_envs=args.envs,
        num_instances=args.instances,
        autoreset_mode="SameStep",
        blend_path=args.blender,
    )
    curve = Curve(60 * args.minutes)
    model = make_model(btt.env.to_sb3(env), args.seed)
    try:
        model.learn(args.steps, callback=curve)
    finally:
        env.close()
    minutes = (time.perf_counter() - curve.started) / 60
    print(
        f"{model.num_timesteps} steps and {len(curve.returns)} episodes in {minutes:.1f} minutes, "
        f"{model.num_timesteps / minutes / 60:.0f} steps/s"
    )
    args.out.mkdir(parents=True, exist_ok=True)
    model.save(args.out / "policy.zip")
    curve.draw(args.out / "curve.png")
    returns = evaluate(model, args.blender)
    print(f"{EPISODES} episodes it has not seen: mean return {returns.mean():.1f}, lowest {returns.min():.0f}")
    print(f"wrote {args.out / 'policy.zip'} and {args.out / 'curve.png'}")


def make_model(env, seed: int) -> PPO:
    """PPO, with a higher learning rate than its default and a shorter look ahead, which suit a task this short."""
    return PPO(
        "MlpPolicy",
        VecMonitor(env),
        n_steps=max(1, ROLLOUT // env.num_envs),
        batch_size=256,
        n_epochs=10,
        learning_rate=1e-3,
        gamma=0.98,
        gae_lambda=0.9,
        seed=seed,
        device="cpu",
    )


class Curve(BaseCallback):
    """Notes the return of each episode, and ends the training when its time is over.

    Args:
        budget_s: How many seconds it may take.

    Attributes:
        started: When the training began, by `time.perf_counter()`.
        steps: After how many steps, of all environments together, an episode has ended, in their order.
        seconds: After how much time.
        returns: With which return.
    """

    def __init__(self, budget_s: float) -> None:
        super().__init__()
        self._budget_s = budget_s
        self._rollouts = 0
        self.steps: list[int] = []
        self.seconds: list[float] = []
        self.returns: list[float] = []

    def _on_training_start(self) -> None:
        self.started = time.perf_counter()

    def _on_step(self) -> bool:
        seconds = time.perf_counter() - self.started
        for info in self.locals["infos"]:
            if "episode" in info:
                self.steps.append(self.num_timesteps)
                self.seconds.append(seconds)
                self.returns.append(info["episode"]["r"])
        return seconds < self._budget_s

    def _on_rollout_end(self) -> None:
        self._rollouts += 1
        if self.returns and self._rollouts % 5 == 0:
            seconds = time.perf_counter() - self.started
            print(
                f"{self.num_timesteps:7d} steps, {seconds:5.1f} s: mean return of the last 50 episodes "
                f"{np.mean(self.returns[-50:]):5.1f}",
                flush=True,
            )

    def draw(self, file: Path) -> None:
        """Draws the returns, and their mean over 50 episodes, over steps and over minutes."""
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
        mean = [np.mean(self.returns[max(0, i - 49) : i + 1]) for i in range(len(self.returns))]
        for axis, x, name in zip(
            axes, (np.array(self.steps) / 1000, np.array(self.seconds) / 60), ("1000 steps", "minutes"), strict=True
        ):
            axis.plot(x, self.returns, ".", color="0.75", markersize=2, label="an episode")
            axis.plot(x, mean, color="tab:blue", label="mean of 50")
            axis.axhline(MOST, color="0.5", linewidth=0.8, linestyle=":")
            axis.set(xlabel=name, xlim=(0, None), ylim=(0, 1.05 * MOST))
            axis.grid(alpha=0.2)
        axes[0].set_ylabel("return")
        axes[0].legend(loc="lower right")
        figure.savefig(file, dpi=100)
        plt.close(figure)


def evaluate(model: PPO, blender: str | None) -> np.ndarray:
    """Returns of episodes with other seeds, without the noise that the policy explores with."""
    returns, over = np.zeros(EPISODES), np.zeros(EPISODES, bool)
    env = gymnasium.make_vec(ENV, num_envs=EPISODES, blend_path=blender)
    try:
        observations, _ = env.reset(seed=FRESH_SEED)
        while not over.all():
            actions, _ = model.predict(observations, deterministic=True)
            observations, rewards, terminated, truncated, _ = env.step(actions)
            returns += rewards * ~over
            over |= terminated | truncated
    finally:
        env.close()
    return returns


if __name__ == "__main__":
    main()
