"""What the engine says of itself, for panels to draw and operators to ask. No bpy here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """What runs.

    Attributes:
        stream: Clients can connect.
        recording: Samples are recorded.
        preview: The pictures of the preview are being made.
        workers: Workers' samples are taken.
        environment: An environment is served, and plays the scene's frames.
        shown: The scene shows what *Randomize once* has made of it.
    """

    stream: bool = False
    recording: bool = False
    preview: bool = False
    workers: bool = False
    environment: bool = False
    shown: bool = False

    @property
    def sampling(self) -> bool:
        """Whether samples are made of the scene for somebody."""
        return self.stream or self.recording

    @property
    def running(self) -> bool:
        """Whether there is something to stop."""
        return self.stream or self.recording or self.preview or self.workers or self.environment
