"""What more substeps and more iterations of Bullet change in how poles fall that nobody balances, and what they cost.

python examples/control/substeps.py
"""

import argparse
import time
from collections.abc import Sequence

import gymnasium
import numpy as np

from blendtorch import btt  # noqa: F401  (makes the environment known to Gymnasium)

# (substeps, iterations); the first is what the others are compared with.
SETTINGS = ((1, 10), (1, 50), (10, 10), (10, 50))
TIMES_S = (0.1, 0.2, 0.3, 0.4, 0.5)
POLES = 20
ROUNDS = 5  # of which the fastest counts: others may use the machine
LENGTH_M, WIDTH_M, GRAVITY = 1.2, 0.06, 9.81  # of the pole in cartpole.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="to take the time of (default: %(default)s)")
    parser.add_argument("--blender", help="path of Blender; by default it is looked for")
    args = parser.parse_args()

    results = [measure(*setting, args.steps, args.blender) for setting in SETTINGS]
    plain, _ = results[0]
    pole = int(np.argmax(np.abs(plain[0])))
    print(f"angle in degrees of the pole that begins at {plain[0, pole]:.2f}, after")
    print("substeps iterations" + "".join(f"{s:7.1f} s" for s in TIMES_S) + "   steps/s")
    for (substeps, iterations), (angles, rate) in zip(SETTINGS, results, strict=True):
        print(f"{substeps:8d} {iterations:10d}{columns(angles[1:, pole])} {rate:9.0f}")
    exact = [fall(plain[0], time_s) for time_s in TIMES_S]
    print(f"{'computed':>19}{columns(np.array(exact)[:, pole])}")
    print(f"mean and largest difference to what is computed, of {POLES} poles, after {TIMES_S[-1]} s:")
    for (substeps, iterations), (angles, _) in zip(SETTINGS, results, strict=True):
        differs = np.abs(angles[-1] - exact[-1])
        print(f"{substeps:8d} {iterations:10d}{columns([differs.mean(), differs.max()])}")


def fall(angles: np.ndarray, seconds: float, dt_s: float = 1e-4) -> np.ndarray:
    """Where poles are that stand on a hinge which does not move, and are let go at these angles (degrees)."""
    arm = LENGTH_M / 2
    acceleration = GRAVITY * arm / (arm**2 + (LENGTH_M**2 + WIDTH_M**2) / 12)
    now, speeds = np.radians(angles, dtype=np.float64), 0.0
    for _ in range(round(seconds / dt_s)):
        speeds += acceleration * np.sin(now) * dt_s
        now = now + speeds * dt_s
    return np.degrees(now)


def columns(angles: Sequence[float]) -> str:
    """Numbers below each other."""
    return "".join(f"{angle:9.2f}" for angle in angles)


def measure(substeps: int, iterations: int, steps: int, blender: str | None) -> tuple[np.ndarray, float]:
    """Angles, (1 + times, poles) degrees, at the start and after each time from when poles are let go; steps a second."""
    env = gymnasium.make_vec(
        "blendtorch/CartPole-v0",
        num_envs=POLES,
        env_options={"substeps": substeps, "iterations": iterations},
        blend_path=blender,
    )
    try:
        still = np.zeros((POLES, 1), np.float32)
        observations, _ = env.reset(seed=0)
        angles = [observations[:, 2]]
        step_s = 1 / env.metadata["render_fps"]
        for _ in range(2 if substeps == 1 else 3):  # poles are held, see `btb.env.PhysicsAgents`
            env.step(still)
        for step in range(1, round(TIMES_S[-1] / step_s) + 1):
            observations, _, terminated, *_ = env.step(still)
            assert not terminated.any(), "poles have fallen before the end of the comparison"
            if any(abs(step * step_s - time_s) < step_s / 2 for time_s in TIMES_S):
                angles.append(observations[:, 2])
        rates = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(steps // ROUNDS):
                env.step(still)
            rates.append(steps // ROUNDS * POLES / (time.perf_counter() - started))
        return np.degrees(angles), max(rates)
    finally:
        env.close()


if __name__ == "__main__":
    main()
