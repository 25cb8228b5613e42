"""A progress bar that tells how the stream fares."""

from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from .stream_loader import StreamLoader

_TELL_EVERY = 8  # batches; to print costs more than to load


def progress(loader: StreamLoader) -> Iterator[Any]:
    """Iterates over a loader with a progress bar, under which `loader.stats()` are a line.

    Args:
        loader: The loader.

    Yields:
        Its batches.
    """
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("batches"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}")) as bar:
        task = bar.add_task("", total=loader.num_batches)
        done = 0
        for batch in loader:
            if done % _TELL_EVERY == 0:
                bar.update(task, completed=done, description=str(loader.stats()))
            yield batch
            done += 1
        bar.update(task, completed=done, description=str(loader.stats()))
