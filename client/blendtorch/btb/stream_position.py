"""Where in the stream this instance is: what the samples it publishes are numbered by."""

from dataclasses import dataclass


@dataclass
class StreamPosition:
    """The index that is being worked at.

    Attributes:
        index: The index that samples published now belong to; None when nobody has said.
        chosen_by_script: Whether the script asks for its indices itself, by `btb.sample_indices`.
        owed_index: The first index that was not delivered in full, before this instance was restarted.
    """

    index: int | None = None
    chosen_by_script: bool = False
    owed_index: int = 0
