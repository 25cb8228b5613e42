"""Trains a small detector of cubes on what record.py has recorded. Blender is not needed.

python examples/datagen/train_detector.py --recording out/cubes --out out/detector
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from average_precision import Scene, average_precision
from detector import Detector, encode, losses
from PIL import Image, ImageDraw, ImageFont

from blendtorch import btt
from blendtorch.export import split_of

SPLITS = {"train": 0.8, "val": 0.2}
CUBE = 1  # the class id
LEAST_VISIBLE = (
    0.25  # of a cube's silhouette: one that is hidden more is neither asked for nor held against the detector
)
SIDES_WEIGHT = 5.0  # of their loss, beside that of centres
LEAST_SCORE = 0.3  # of boxes in the picture
TILES = 6
THERE, HARDLY_THERE, FOUND = (255, 255, 255), (150, 150, 150), (255, 205, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recording", type=Path, default=Path("out/cubes"), help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=6e-3, help="the highest learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and of the order of samples")
    parser.add_argument("--out", type=Path, default=Path("out/detector"), help="folder (default: %(default)s)")
    args = parser.parse_args()

    recording = btt.Recording(args.recording)
    train, val = (part(recording, name) for name in SPLITS)
    print(f"{args.recording}: {len(train)} samples to train on, {len(val)} of other throws to try it on")
    torch.manual_seed(args.seed)
    model = Detector()
    fit(model, train, args)
    scenes = detect(model, val, args.batch_size)
    by_threshold = average_precision(scenes)
    count = sum(len(scene.boxes) for scene in scenes)
    print(f"of {count} cubes it has never seen: AP50 {by_threshold[0]:.3f}, AP {by_threshold.mean():.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), args.out / "detector.pt")
    draw(scenes, val).save(args.out / "predictions.png", optimize=True)
    print(f"wrote {args.out / 'detector.pt'} and {args.out / 'predictions.png'}")


def part(recording: btt.Recording, split: str) -> btt.Recording:
    """The samples of a split. Those of one throw are all in the same: the detector is tried on cubes it has never seen."""
    chosen = [i for i, key in enumerate(recording.keys) if split_of(key, SPLITS) == split]
    if not chosen:
        raise btt.ConfigError(f"none of the {len(recording)} samples is in the split {split}: record more of them.")
    return recording[chosen]


def fit(model: Detector, recording: btt.Recording, args: argparse.Namespace) -> None:
    """Trains."""
    loader = btt.ReplayLoader(recording, args.batch_size, shuffle=True, seed=args.seed, transform=with_targets)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, total_steps=args.epochs * len(loader))
    model.train()
    for epoch in range(args.epochs):
        started, waited_s = time.perf_counter(), loader.stats().trainer_waited_s
        sums = np.zeros(2)
        for batch in loader:
            heat_loss, side_loss = losses(*model(batch["image"]), batch["targets"])
            optimizer.zero_grad()
            (heat_loss + SIDES_WEIGHT * side_loss).backward()
            optimizer.step()
            schedule.step()
            sums += heat_loss.item(), side_loss.item()
        seconds, waited_s = time.perf_counter() - started, loader.stats().trainer_waited_s - waited_s
        heat, sides = sums / len(loader)
        print(
            f"epoch {epoch + 1:2d}/{args.epochs}: loss of centres {heat:.3f}, of sides {sides:.3f}; "
            f"{len(recording) / seconds:.0f} images/s, of the time {100 * waited_s / seconds:.1f} % waited for data",
            flush=True,
        )


def with_targets(batch: dict[str, Any]) -> dict[str, Any]:
    """Mirrors half of the pictures, and adds what the detector is to say; in the loader's thread."""
    images = batch["image"]
    width = images.shape[2]
    boxes, hidden = zip(*map(cubes, batch["labels"]), strict=True)
    boxes, hidden = list(boxes), list(hidden)
    for i in range(0, len(images), 2):  # samples come in random order
        images[i] = images[i].flip(1)
        for rows in (boxes[i], hidden[i]):
            rows[:, [0, 2]] = width - rows[:, [2, 0]]
    return {"image": images, "targets": encode(boxes, hidden, tuple(images.shape[1:3]))}


def cubes(labels: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the cubes that are to be found, and of those that are seen, but hardly."""
    table = labels["instances"]
    is_seen = (table["class_id"] == CUBE) & (table["pixels"] > 0)
    is_clear = table["visible_fraction"] >= LEAST_VISIBLE
    return table["box"][is_seen & is_clear], table["box"][is_seen & ~is_clear]


def detect(model: Detector, recording: btt.Recording, batch_size: int) -> list[Scene]:
    """What is in the pictures, and what the detector finds there."""
    model.eval()
    return [
        Scene(*cubes(labels), found, scores)
        for batch in btt.ReplayLoader(recording, batch_size)
        for labels, (found, scores) in zip(batch["labels"], model.detect(batch["image"]), strict=True)
    ]


def draw(scenes: Sequence[Scene], recording: btt.Recording) -> Image.Image:
    """Some of the pictures, twice as large: cubes in white, in grey those hardly seen, what was found in yellow."""
    font = ImageFont.load_default(13)
    tiles = []
    for i in np.linspace(0, len(scenes) - 1, min(TILES, len(scenes))).astype(int).tolist():
        scene = scenes[i]
        tile = Image.fromarray(recording[i]["image"].repeat(2, axis=0).repeat(2, axis=1))
        pen = ImageDraw.Draw(tile)
        found = scene.found[scene.scores >= LEAST_SCORE]
        outline(pen, scene.hidden, HARDLY_THERE, width=1)
        outline(pen, scene.boxes, THERE, width=3)
        outline(pen, found, FOUND, width=2)
        for (left, top, _, _), score in zip((2 * found).round().tolist(), scene.scores, strict=False):  # the best first
            pen.rectangle((left, top, left + 27, top + 14), fill=FOUND)
            pen.text((left + 1, top - 1), f"{score:.2f}", fill=(0, 0, 0), font=font)
        tiles.append(np.asarray(tile))
    return btt.montage(tiles, columns=min(3, len(tiles)))


def outline(pen: ImageDraw.ImageDraw, boxes: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    """Draws boxes of the picture, XYXY pixels, on one twice as large."""
    for left, top, right, bottom in (2 * boxes).round().tolist():
        # Pillow names the pixels to colour, a box the outer corners of its first and last pixel.
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color, width=width)


if __name__ == "__main__":
    main()
