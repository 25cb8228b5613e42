"""`blendtorch demo`: falling cubes from headless Blenders into a `DataLoader`, and a picture of what came."""

import argparse
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch.utils.data import DataLoader, default_collate

from ..btt import BlenderLauncher, RemoteIterableDataset, montage
from ..errors import ConfigError, MissingFileError

_SCRIPT = "falling_cubes.blend.py"
_MONTAGE_IMAGES = 16


def add_parser(subparsers: Any) -> None:
    """Adds the sub-command."""
    parser = subparsers.add_parser("demo", help="stream falling cubes, and write a picture of what came")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for batch.png (default: %(default)s)")
    parser.add_argument("-n", "--instances", type=int, default=2, help="Blender instances (default: %(default)s)")
    parser.add_argument("--images", type=int, default=160, help="images to stream (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--blender", help="blender executable, or Python that has bpy (default: found by itself)")
    parser.add_argument(
        "--shading", default="SOLID", choices=["SOLID", "RENDERED"], help="RENDERED is EEVEE: wants a GPU"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Streams, prints a summary, writes the montage; returns the exit status."""
    if args.images < 1 or args.batch_size < 1:
        raise ConfigError("--images and --batch-size take at least 1.")
    console = Console()
    launcher = BlenderLauncher(
        script=find_script(),
        num_instances=args.instances,
        seed=args.seed,
        instance_args=[["--shading", args.shading]] * args.instances,
        blend_path=args.blender,
    )
    with ExitStack() as stack:
        started = time.perf_counter()
        with console.status(f"starting {args.instances} headless Blender(s)"):
            stack.enter_context(launcher)
        console.print(f"{args.instances} Blender(s) started in {time.perf_counter() - started:.1f} s")
        times, picked = _stream(launcher, args, console)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "batch.png"
    montage([item["image"] for item in picked], [item["boxes"] for item in picked]).save(file)
    console.print(times.table(args.instances), highlight=False)
    console.print(f"wrote {file}: {len(picked)} of the images, with the boxes that came along")
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
        batch = default_collate(items)
        self.collate_s.append((time.perf_counter() - started) / len(items))
        return batch

    def table(self, instances: int) -> Table:
        """The summary."""
        table = Table("per image", "milliseconds", "", title=f"{len(self.blender_s) / self.wall_s:.1f} images/s")
        rows = [
            ("in Blender", self.blender_s, f"physics, drawing, boxes; {instances} at a time"),
            ("transfer", self.transfer_s, "publish to trainer, queues included"),
            ("collate", self.collate_s, "into the tensors of a batch"),
        ]
        for name, seconds, what in rows:
            table.add_row(name, f"{1000 * statistics.mean(seconds):.2f}", what)
        return table


def _stream(launcher: BlenderLauncher, args: argparse.Namespace, console: Console) -> tuple[_Times, list[dict]]:
    """Iterates a `DataLoader`; returns the times, and some images with their boxes."""
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
    images: list[dict[str, Any]] = []
    columns = (TextColumn("streaming"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=args.images)
        started = time.perf_counter()
        for batch in loader:
            pairs = zip(batch["image"], batch["boxes"], strict=True)
            images += [{"image": image, "boxes": boxes} for image, boxes in pairs]
            progress.update(task, completed=len(images))
        times.wall_s = time.perf_counter() - started
    return times, images[:: max(1, len(images) // _MONTAGE_IMAGES)][:_MONTAGE_IMAGES]


def find_script() -> Path:
    """The script that runs inside Blender: beside this file in an installed package, under examples/ in a checkout."""
    here = Path(__file__).parent
    for folder in (here, here.parents[2] / "examples" / "datagen"):
        if (folder / _SCRIPT).is_file():
            return folder / _SCRIPT
    raise MissingFileError(f"{_SCRIPT} is not beside {here}. Install blendtorch again.")
