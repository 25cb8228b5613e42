"""A progress bar that tells how the stream fares."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from .replay_loader import ReplayLoader
from .reuse_loader import ReuseLoader
from .stream_loader import StreamLoader

_TELL_EVERY = 8  # batches: to tell takes longer than to load a small one


def progress(loader: StreamLoader | ReplayLoader | ReuseLoader) -> Iterator[Any]:
    """Iterates over a loader with a progress bar, and `loader.stats()` as a line below it.

    Args:
        loader: The loader.

    Yields:
        Its batches.
    """
    bar = Progress(SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("batches"), TimeElapsedColumn())
    account = Text()
    task = bar.add_task("", total=loader.num_batches)
    done = 0

    def tell() -> None:
        bar.update(task, completed=done)
        account.plain = str(loader.stats())

    with Live(Group(bar, account)):
        for batch in loader:
            if done % _TELL_EVERY == 0:
                tell()
            yield batch
            done += 1
        tell()
