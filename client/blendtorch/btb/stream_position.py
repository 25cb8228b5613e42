"""Where in the stream this instance is: what the samples it publishes are numbered by."""

from dataclasses import dataclass, field


@dataclass
class StreamPosition:
    """The index that is being worked at.

    Attributes:
        index: The index that samples published now belong to; None when nobody has said.
        chosen_by_script: Whether the script asks for its indices itself, by `btb.sample_indices`.
        owed: For the address of each channel the first index that was not delivered in full before this instance was
            restarted, or that its receiver wants to go on from. Channels without anybody before them are not among them.
    """

    index: int | None = None
    chosen_by_script: bool = False
    owed: dict[str, int] = field(default_factory=dict)

    @property
    def owed_index(self) -> int:
        """The first index that any channel owes; the others pass over what they have delivered of it."""
        return min(self.owed.values(), default=0)
