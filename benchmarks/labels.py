"""What do labels cost beside the picture?

`btb.LabelRenderer` draws ids, depth, normals, flow and classes beside the Solid picture of `btb.OffScreenRenderer`, in
one Blender; normals are `normals_world`, and `all` is every output. The scene is the default cube with a floor, a
sphere, a torus and a monkey, 640 x 480; cube and monkey turn. Rows are milliseconds, so that a ratio is a cost.

- `solid` is the picture as one gets it: RGBA with the anti-aliasing of the preferences, which is 8 samples. `solid/1`
  is the one with `samples=1`, the cheapest there is and so the stricter reference: all further tables compare with it.
- `WIDTH` px: each output alone, which is never quite alone, for ids and depth are always drawn and read back: the rest
  is made of them. `annotate` makes the labels of a picture that was drawn, `annotate-amodal` draws and measures the whole
  silhouette of each instance for them.
- `N-objects`: cubes with a mesh each, that all turn. `N-instances`: one mesh, shown at N vertices. `N-triangles`: one mesh.
- `arrive`: `solid/1` with ids, depth and normals, 7.4 MB, by shared memory into batches of 8 of a `StreamLoader`. `bare`
  draws the same and drops it; `bare-picture` draws the picture alone.

What takes the time: software OpenGL (llvmpipe) fills pixels on all cores, and the picture has many layers of
them (shading, anti-aliasing, outlines, colour management), labels have one. Reading back is a copy out of the texture,
another one turns the rows round. Python looks at each object, some 5 us, and at each mesh, some 20 us: what it holds is
read and compared with the frame before, whether it has changed or not. Then each mesh is a call to draw, some 10 us. Flow
is two more pictures, and numpy over all pixels that are not background tells what is occluded.

All rows of a table are measured in turn, frame by frame, every other round backwards; ratios are medians of the
rounds' ratios.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from report import Row, parser, row_of_rounds, rows_of_rounds, show, write

from blendtorch import btt

SHAPE = (480, 640)
BATCH_SIZE = 8
WIDTHS = (128, 256, 512, 640, 1280)
COUNTS = (1, 10, 100, 1000)
SCENES = [*((kind, count) for kind in ("objects", "instances") for count in COUNTS), ("triangles", 500_000)]
LABELS = ("solid/1", "ids+depth", "ids+depth+normals", "all")
ALONE = ("ids", "depth", "normals_world", "normals_camera", "semantic", "flow", "annotate", "annotate-amodal")
ANNOTATING = ("annotate", "annotate-amodal", "boxes_from_ids")

REMARKS = {
    "solid": "drawing, 8 samples; software OpenGL takes all cores",
    "solid/1": "drawing, 1 sample",
    "ids+depth": "drawing, copies of 2 x 1.2 MB, 1 ms of Python",
    "ids+depth+normals": "drawing into another 4.9 MB, copies of 3.7 MB",
    "all": "flow: two more pictures, and numpy to find what is occluded",
    "bare-picture": "drawing solid/1",
    "bare": "drawing solid/1 and labels",
    "arrive": "as bare, and two copies of 7.4 MB",
    "annotate/1000": "numpy, over all objects at once",
    "annotate-amodal/1000": "drawing 1,000 tiles, reading them back and counting",
    "boxes_from_ids/1000": "numpy, over the pixels",
}
# What the project aims at: row, whether at most or at least, how much, of which row; without one, in the row's unit.
TARGETS: list[tuple[str, str, float, str | None]] = [
    ("ids+depth+normals", "<=", 0.25, "solid"),
    ("ids+depth+normals", "<=", 0.25, "solid/1"),
    ("arrive", ">=", 20, None),
    ("annotate/1000", "<=", 10, None),
]

Rounds = list[dict[str, float]]


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
    # Filling a batch takes one core for milliseconds; torch's thread pool would wait for cores that draw.
    torch.set_num_threads(1)
    rounds, rounds_of_tables, bursts, frames = (3, 2, 2, 16) if args.quick else (25, 15, 9, 48)
    with btt.BlenderLauncher(
        script=Path(__file__).parent / "labels.blend.py",
        num_instances=1,
        named_sockets=["DATA", "CTRL"],
        blend_path=args.blender,
        on_failure="raise",  # a new instance would not know what it was told to do
    ) as launcher:
        addresses = launcher.launch_info.addresses
        blender = Blender(btt.DuplexChannel(addresses["CTRL"][0], 0), addresses["DATA"])
        costs = blender.time(("few", 5), SHAPE, ("solid", *LABELS), rounds)
        arrivals = [blender.arrivals(frames, backwards=bool(i % 2)) for i in range(bursts)]
        sizes = {
            f"{width}px": blender.time(("few", 5), (width * 3 // 4, width), (*LABELS, *ALONE), rounds_of_tables)
            for width in WIDTHS
        }
        counts = {
            f"{count}-{kind}": blender.time((kind, count), SHAPE, (*LABELS, *ANNOTATING), rounds_of_tables)
            for kind, count in (SCENES[:-1] if args.quick else SCENES)
        }

    rows = [
        *rows_of_rounds(costs, "ms", "solid", REMARKS),
        *rows_of_rounds(arrivals, "images/s", "bare", REMARKS),
        *rows_of_thousand(counts["1000-objects"]),
    ]
    show("Labels beside the Solid picture, 640 x 480", rows, None)
    print_grid("each output alone", sizes)
    print_grid("more objects, 640 x 480", counts)
    print_targets(rows, costs)
    if args.json is not None:
        write([*rows, *rows_of_grid(sizes), *rows_of_grid(counts)], args.json)


class Blender:
    """The instance, which measures on command.

    Args:
        commands: The channel to it.
        addresses: Where it publishes.
    """

    def __init__(self, commands: btt.DuplexChannel, addresses: Sequence[str]) -> None:
        self._commands = commands
        self._loader = btt.StreamLoader(addresses, BATCH_SIZE, timeoutms=120_000)

    def time(self, scene: tuple[str, int], shape: tuple[int, int], names: Sequence[str], rounds: int) -> Rounds:
        """Milliseconds of each row, round by round."""
        answer = self._ask(scene=list(scene), shape=list(shape), rows=list(names), rounds=rounds)
        return [dict(zip(names, of_round.tolist(), strict=True)) for of_round in answer["ms"]]

    def arrivals(self, frames: int, backwards: bool) -> dict[str, float]:
        """Images a second, of one round: a burst of so many frames for each row."""
        rows = {
            "bare-picture": lambda: self._bare(frames, labels=False),
            "bare": lambda: self._bare(frames, labels=True),
            "arrive": lambda: self._arrive(frames),
        }
        values = {name: rows[name]() for name in (reversed(rows) if backwards else rows)}
        return {name: values[name] for name in rows}

    def _bare(self, frames: int, labels: bool) -> float:
        self._ask(frames=2, labels=labels, publish=False)  # shaders, and caches
        started = time.perf_counter()
        self._ask(frames=frames, labels=labels, publish=False)
        return frames / (time.perf_counter() - started)

    def _arrive(self, frames: int) -> float:
        # Connected while it is measured only: its thread looks into shared memory all the time.
        with self._loader:
            batches = iter(self._loader)
            self._commands.send(frames=BATCH_SIZE, labels=True, publish=True)
            next(batches)
            started = time.perf_counter()
            self._commands.send(frames=frames, labels=True, publish=True)
            for _ in range(frames // BATCH_SIZE):
                next(batches)
            return frames / (time.perf_counter() - started)

    def _ask(self, **command: object) -> dict[str, np.ndarray]:
        self._commands.send(**command)
        answer = self._commands.recv(timeoutms=600_000)
        assert answer is not None, "Blender did not finish in 10 minutes"
        return answer


def rows_of_thousand(rounds: Rounds) -> list[Row]:
    """Annotations of 1,000 objects, compared with their picture."""
    return [
        replace(
            row_of_rounds(rounds, name, "ms", "solid/1", REMARKS[f"{name}/1000"]),
            name=f"{name}/1000",
            ratio_to="solid/1/1000-objects",
        )
        for name in ANNOTATING
    ]


def rows_of_grid(groups: dict[str, Rounds]) -> list[Row]:
    """The rows of all groups, such as "ids/128px", compared with the picture in that group."""
    return [
        replace(row, name=f"{row.name}/{suffix}", ratio_to=f"solid/1/{suffix}")
        for suffix, rounds in groups.items()
        for row in rows_of_rounds(rounds, "ms", "solid/1", {})
    ]


def print_grid(title: str, groups: dict[str, Rounds]) -> None:
    """A table of milliseconds, and of ratios to solid/1 of the same column."""
    print(f"\n{title}; ms (ratio to solid/1 of that column)\n")
    print(f"| row | {' | '.join(groups)} |\n|---|{'---|' * len(groups)}")
    for name in next(iter(groups.values()))[0]:
        rows = [row_of_rounds(rounds, name, "ms", "solid/1") for rounds in groups.values()]
        print(f"| {name} | {' | '.join(f'{row.value:.3g} ({row.ratio:.2f})' for row in rows)} |")


def print_targets(rows: list[Row], costs: Rounds) -> None:
    """What the project aims at beside what was measured; nothing depends on it, for machines differ."""
    print("\n| target | measured | |\n|---|---|---|")
    for name, relation, bound, other in TARGETS:
        if other is None:
            row = next(row for row in rows if row.name == name)
            value, asked = row.value, f"{name} {relation} {bound:g} {row.unit}"
        else:
            value, asked = row_of_rounds(costs, name, "ms", other).ratio, f"{name} {relation} {bound:g} x {other}"
        met = value <= bound if relation == "<=" else value >= bound
        print(f"| {asked} | {value:.3g} | {'met' if met else 'not met'} |")


if __name__ == "__main__":
    main()
