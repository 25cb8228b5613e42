"""`blendtorch demo`: falling cubes from headless Blenders into a `DataLoader`, and pictures of what came."""

import argparse
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch.utils.data import DataLoader

from ..btt import PANELS, BlenderLauncher, RemoteIterableDataset, collate, montage, panels
from ..errors import ConfigError, MissingFileError

_SCRIPT = "falling_cubes.blend.py"
_MONTAGE_IMAGES = 16
_PASSES_ROWS = 4


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser("demo", help="stream falling cubes, and write pictures of what came")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the pictures (default: %(default)s)")
    parser.add_argument("-n", "--instances", type=int, default=2, help="Blender instances (default: %(default)s)")
    parser.add_argument("--images", type=int, default=160, help="images to stream (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--blender", help="blender executable, or Python that has bpy (default: found by itself)")
    parser.add_argument(
        "--shading", default="SOLID", choices=["SOLID", "RENDERED"], help="RENDERED is EEVEE: wants a GPU"
    )
    parser.add_argument(
        "--check-labels",
        choices=["report", "drop", "raise"],
        help="Blender checks the labels of each image: report wrong ones in logs/ beside the pictures, drop them, or fail",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Streams, prints a summary, writes the pictures; returns the exit status."""
    if args.images < 1 or args.batch_size < 1:
        raise ConfigError("--images and --batch-size take at least 1.")
    console = Console()
    checking = ["--check-labels", args.check_labels] if args.check_labels else []
    launcher = BlenderLauncher(
        script=find_script(),
        num_instances=args.instances,
        seed=args.seed,
        instance_args=[["--shading", args.shading, *checking]] * args.instances,
        blend_path=args.blender,
        log_dir=args.out / "logs" if checking else None,
    )
    with ExitStack() as stack:
        started = time.perf_counter()
        with console.status(f"starting {args.instances} headless Blender(s)"):
            stack.enter_context(launcher)
        console.print(f"{args.instances} Blender(s) started in {time.perf_counter() - started:.1f} s")
        times, picked = _stream(launcher, args, console)
    args.out.mkdir(parents=True, exist_ok=True)
    batch, passes = args.out / "batch.png", args.out / "passes.png"
    montage([item["image"] for item in picked], [item["boxes"] for item in picked]).save(batch)
    rows = picked[:: max(1, len(picked) // _PASSES_ROWS)][:_PASSES_ROWS]
    montage(np.concatenate([panels(item) for item in rows]), columns=len(PANELS)).save(passes)
    console.print(times.table(args.instances), highlight=False)
    console.print(f"wrote {batch}: {len(picked)} of the images, with the boxes that came along")
    console.print(f"wrote {passes}: {len(rows)} of them beside their ids, depth and normals")
    return 0


@dataclass
class _Times:
    """Where the time went; seconds."""

    wall_s: float = 0.0
    blender_s: list[float] = field(default_factory=list)
    transfer_s: list[float] = field(default_factory=list)
    collate_s: list[float] = field(default_factory=list)

    def note_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """Called on each image as it arrives."""
        self.transfer_s.append(time.time() - item.pop("published_at"))
        self.blender_s.append(item.pop("blender_s"))
        return item

    def collate(self, items: list[dict[str, Any]]) -> Any:
        """Makes a batch, and takes the time."""
        started = time.perf_counter()
        batch = collate(items)
        self.collate_s.append((time.perf_counter() - started) / len(items))
        return batch

    def table(self, instances: int) -> Table:
        """The summary."""
        table = Table("per image", "milliseconds", "", title=f"{len(self.blender_s) / self.wall_s:.1f} images/s")
        rows = [
            ("in Blender", self.blender_s, f"physics, drawing, labels; {instances} at a time"),
            ("transfer", self.transfer_s, "publish to trainer, queues included"),
            ("collate", self.collate_s, "into the tensors of a batch"),
        ]
        for name, seconds, what in rows:
            table.add_row(name, f"{1000 * statistics.mean(seconds):.2f}", what)
        return table


def _stream(launcher: BlenderLauncher, args: argparse.Namespace, console: Console) -> tuple[_Times, list[dict]]:
    """Iterates a `DataLoader`; returns the times, and some images with their labels."""
    times = _Times()
    dataset = RemoteIterableDataset(
        launcher.launch_info.addresses["DATA"],
        max_items=args.images,
        item_transform=times.note_item,
        timeoutms=120_000,  # EEVEE's first picture compiles shaders, for long without a GPU
    )
    # Without a GPU Blender draws on all cores, and torch's own threads would wait for them to fill a batch.
    torch.set_num_threads(1)
    loader = DataLoader(dataset, batch_size=args.batch_size, collate_fn=times.collate)
    step = max(1, args.images // _MONTAGE_IMAGES)
    picked: list[dict[str, Any]] = []
    count = 0
    columns = (TextColumn("streaming"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=args.images)
        started = time.perf_counter()
        for batch in loader:
            size = len(batch["image"])
            kept = [i for i in range(size) if (count + i) % step == 0]
            picked += [{name: batch[name][i].clone() for name in (*PANELS, "boxes")} for i in kept]
            count += size
            progress.update(task, completed=count)
        times.wall_s = time.perf_counter() - started
    return times, picked[:_MONTAGE_IMAGES]


def find_script() -> Path:
    """The script that runs inside Blender: beside this file in an installed package, under examples/ in a checkout."""
    here = Path(__file__).parent
    for folder in (here, here.parents[2] / "examples" / "datagen"):
        if (folder / _SCRIPT).is_file():
            return folder / _SCRIPT
    raise MissingFileError(f"{_SCRIPT} is not beside {here}. Install blendtorch again.")
