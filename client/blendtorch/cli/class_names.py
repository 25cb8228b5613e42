"""Options that are lists: names, and the names of classes by their ids (`--classes`)."""

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError, MissingFileError
from ..export.classes import class_names


def names(text: str) -> list[str]:
    """The names that a list with commas between them has."""
    return [name.strip() for name in text.split(",") if name.strip()]


def add_classes_option(parser: argparse.ArgumentParser, default: str = "the recording's own") -> None:
    """Adds the option."""
    parser.add_argument(
        "--classes",
        metavar="ID=NAME,...|FILE.json",
        help=f"names of classes, such as 1=car,2=tree, or a file with an object of them (default: {default})",
    )


def parse_classes(text: str) -> dict[int, str]:
    """The names of classes that the option --classes stands for, by id.

    Raises:
        MissingFileError: It names a file that is not there.
        ConfigError: It is neither a list of ID=NAME nor a file with an object of them.
    """
    classes: Any
    if "=" in text:
        pairs = [pair.partition("=") for pair in text.split(",")]
        classes = {class_id.strip(): name.strip() for class_id, _, name in pairs}
        if len(classes) < len(pairs):
            raise ConfigError(f"--classes {text} names a class twice. Give each id once.")
    else:
        try:
            classes = json.loads(Path(text).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingFileError(
                f"there is no {text} for --classes. Give 1=car,2=tree, or a JSON file with an object of them."
            ) from None
        except (ValueError, OSError) as error:
            raise ConfigError(f"--classes {text} is no JSON file: {error}.") from None
    try:
        return class_names({"classes": classes})
    except ConfigError as error:
        reason = str(error).removeprefix("metadata: ")
        raise ConfigError(f"--classes {text}: {reason}. Give 1=car,2=tree, or a JSON file of such.") from None
