"""Runs inside Blender for record.py: publishes pictures with depth, which it does not render, so many a second."""

import argparse
import itertools
import time

import numpy as np

from blendtorch import btb

btargs, remainder = btb.parse_blendtorch_args()
parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, default=0, help="samples a second; 0 for as many as are taken")
args = parser.parse_args(remainder)

rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (480, 640, 4), np.uint8) for _ in range(4)]
depths = [rng.uniform(1, 10, (480, 640)).astype(np.float32) for _ in range(4)]
channel = btb.BlenderOutputChannel(btargs.btsockets["DATA"], btargs.btid)
due = time.perf_counter()
for i in itertools.count():
    channel.publish(image=images[i % 4], depth=depths[i % 4], frameid=i)
    if args.rate:
        due = max(due + 1 / args.rate, time.perf_counter())  # what had to wait for the trainer is not made up for
        time.sleep(max(0.0, due - time.perf_counter()))
