"""Records falling cubes from headless Blenders, for training without Blender: see train_detector.py.

python examples/datagen/record.py --samples 960 --out out/cubes

Interrupt it, and run it again: it goes on where it was.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from blendtorch import btt

BATCH_SIZE = 8
TELL_EVERY = 10  # batches
# Of 60 frames each fifth: neighbours are much alike, and new throws teach more than new views of the same.
SCRIPT_ARGS = ["--every", "5", "--outputs", "ids", "depth"]
CLASSES = {"1": "cube"}
STATE_FILE = "stream.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=960, help="how many in all (default: %(default)s)")
    parser.add_argument("--instances", type=int, default=2, help="Blenders at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shape", type=int, nargs=2, default=(240, 320), help="height and width of the pictures")
    parser.add_argument("--blender", help="blender executable, or Python that has bpy (default: found by itself)")
    parser.add_argument("--out", type=Path, default=Path("out/cubes"), help="folder (default: %(default)s)")
    args = parser.parse_args()

    num_batches = -(-args.samples // BATCH_SIZE)
    state_file = args.out / STATE_FILE
    state = json.loads(state_file.read_text()) if state_file.exists() else None
    if state is not None:
        print(f"{args.out} holds {len(btt.Recording(args.out))} samples already")
    if state is None or state["batches"] < num_batches:
        try:
            record(args, num_batches, state, state_file)
        except KeyboardInterrupt:
            print(f"interrupted; what came is in {args.out}. Run it again to go on")
            sys.exit(130)
    recording = btt.Recording(args.out)
    gigabytes = sum(shard.stat().st_size for shard in recording.shards) / 1e9
    print(f"{args.out}: {len(recording)} samples in {len(recording.shards)} shard(s), {gigabytes:.2f} GB")
    for name, field in recording.schema.items():
        print(f"  {name}: {field.dtype} {field.shape or ''}")


def record(args: argparse.Namespace, num_batches: int, state: dict | None, state_file: Path) -> None:
    """Streams, for the sake of what is recorded on the way."""
    started = time.perf_counter()
    with btt.stream(
        script=Path(__file__).parent / "falling_cubes.blend.py",
        instances=args.instances,
        instance_args=[[*SCRIPT_ARGS, "--shape", *map(str, args.shape)]] * args.instances,
        blend_path=args.blender,
        seed=args.seed,
        batch_size=BATCH_SIZE,
        num_batches=num_batches,
        order="index",  # throw after throw: the same recording whatever the number of instances
        record=btt.RecordingSettings(args.out, metadata={"classes": CLASSES}),
    ) as loader:
        if state is not None:
            loader.load_state_dict(state)
        print(f"{args.instances} Blender(s) started in {time.perf_counter() - started:.1f} s", flush=True)
        started = time.perf_counter()
        for _ in loader:
            state = loader.state_dict()
            keep(state, state_file)
            if state["batches"] % TELL_EVERY == 0 or state["batches"] == num_batches:
                rate = loader.stats().received / (time.perf_counter() - started)
                done, total = (count * BATCH_SIZE for count in (state["batches"], num_batches))
                print(f"{done} of {total} samples, {rate:.1f} a second", flush=True)


def keep(state: dict, file: Path) -> None:
    """Writes where the stream is; a process that is killed leaves the state of before or this one."""
    half = file.with_suffix(".half")
    half.write_text(json.dumps(state))
    os.replace(half, file)


if __name__ == "__main__":
    main()
