"""Blenders throw supershapes into a dish; pictures arrive with ids, depth, normals and labels, and are saved side by side.

python examples/passes/generate.py --instances 2 --out tmp/passes.png
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from blendtorch import btt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=2)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check-labels", choices=["report", "drop", "raise"], help="what to do with wrong labels")
    parser.add_argument("--rows", type=int, default=3, help="samples that are saved (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("passes.png"))
    args = parser.parse_args()

    checker = btt.LabelChecker(args.check_labels) if args.check_labels else None
    samples: list[dict[str, Any]] = []
    with btt.stream(
        script=Path(__file__).parent / "supershapes.blend.py",
        instances=args.instances,
        batch_size=args.batch_size,
        num_batches=args.batches,
        seed=args.seed,
        order="index",  # the same picture at each run
    ) as loader:
        for i, batch in enumerate(loader):
            shapes = {name: tuple(batch[name].shape) for name in btt.PANELS}
            print(f"batch {i}: {shapes}, labels of {len(batch['labels'])}", flush=True)
            samples += [sample for sample in samples_of(batch) if checker is None or checker.accepts(sample)]
    if checker is not None:
        print(checker.report())

    if shown := evenly(samples, args.rows):
        tiles = np.concatenate([btt.panels(sample) for sample in shown])
        boxes = [boxes for sample in shown for boxes in (boxes_of(sample), *[np.zeros((0, 4))] * 3)]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        btt.montage(tiles, boxes, columns=len(btt.PANELS)).save(args.out)
        print(f"wrote {args.out}: picture with boxes, ids, depth and normals of {len(shown)} samples")


def samples_of(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Takes a batch apart: fields of one shape came as tensors, labels as a list of dicts, one for each sample."""
    for i, labels in enumerate(batch["labels"]):
        yield {"labels": labels, **{name: batch[name][i].numpy() for name in btt.PANELS}}


def boxes_of(sample: dict[str, Any]) -> np.ndarray:
    """Boxes of what has a class: the shapes, not the dish."""
    table = sample["labels"]["instances"]
    return table["box"][table["class_id"] > 0]


def evenly(samples: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Some of the samples, from the first to the last."""
    return [samples[i] for i in np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int)]


if __name__ == "__main__":
    main()
