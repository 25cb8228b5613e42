"""Samples with a number each, and what tests ask of the `StreamLoader` that gets them."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from instances import FakeInstance

Start = Callable[..., FakeInstance]


def fields(number: int) -> dict[str, Any]:
    return {"image": np.full((2, 3), number % 256, np.uint8), "number": number}


def samples(count: int | None = None) -> Iterator[dict[str, Any]]:
    return map(fields, itertools.count() if count is None else range(count))


def numbers(batches: Any) -> list[int]:
    return [number for batch in batches for number in batch["number"].tolist()]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "blendtorch stream loader"]


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, done
