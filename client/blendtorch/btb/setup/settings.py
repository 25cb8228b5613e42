"""What is set up in the panel, as frozen dataclasses: the one place that says what there is to set, within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from ...errors import ConfigError
from ..label_renderer import LABEL_OUTPUTS

if TYPE_CHECKING:
    from ..randomize import Randomizer

Transport = Literal["auto", "tcp", "ipc"]
Renderer = Literal["SOLID", "MATERIAL", "RENDERED", "EEVEE", "CYCLES"]
ImageMode = Literal["rgb", "rgba"]
ClassType = Literal["OBJECT", "COLLECTION"]
Fsync = Literal["never", "shard", "sample"]

TRANSPORTS = ("auto", "tcp", "ipc")
RENDERERS = ("SOLID", "MATERIAL", "RENDERED", "EEVEE", "CYCLES")
IMAGE_MODES = ("rgb", "rgba")
CLASS_TYPES = ("OBJECT", "COLLECTION")
# Of those of recordings the ones that hold pictures of 8 bits.
IMAGE_ENCODINGS = ("npy", "png", "jpg", "webp")
FSYNCS = ("never", "shard", "sample")

# Blender's own last frame.
_LAST_FRAME = 1_048_574
# What GPUs draw, and Blender's least for a final render.
_SMALLEST_SIDE, _LARGEST_SIDE = 4, 16_384


def _whole(low: int, high: int) -> dict[str, Any]:
    return {"low": low, "high": high}


def _one_of(choices: tuple[str, ...]) -> dict[str, Any]:
    return {"choices": choices}


def _some_of(choices: tuple[str, ...]) -> dict[str, Any]:
    return {"some_of": choices}


class _Checked:
    """A dataclass whose fields say in their metadata what they may be: `low` and `high`, `choices`, or `some_of`."""

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value, told = getattr(self, item.name), item.metadata
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, item.name, value)
            if "low" in told:
                if type(value) is not int or not told["low"] <= value <= told["high"]:
                    self._refuse(item.name, value, f"an integer from {told['low']} to {told['high']}")
            elif "choices" in told:
                if value not in told["choices"]:
                    self._refuse(item.name, value, f"one of {', '.join(map(repr, told['choices']))}")
            elif "some_of" in told:
                if not isinstance(value, tuple) or not all(one in told["some_of"] for one in value):
                    self._refuse(item.name, value, f"a list of some of {', '.join(map(repr, told['some_of']))}")
                object.__setattr__(self, item.name, tuple(dict.fromkeys(value)))
            elif item.type is bool and type(value) is not bool:
                self._refuse(item.name, value, "true or false")
            elif item.type is str and not isinstance(value, str):
                self._refuse(item.name, value, "a text")

    def _refuse(self, name: str, value: object, expected: str) -> None:
        seen = repr(value)
        seen = seen if len(seen) <= 100 else seen[:97] + "..."
        raise ConfigError(f"{name} is {seen}, expected {expected}.")


@dataclass(frozen=True)
class StreamSettings(_Checked):
    """Where samples are to be had from while this Blender streams.

    Attributes:
        bind_addr: The address that is bound: a name, or an IPv4 or IPv6 address of this machine; "*" for all of its own.
        port: The port; 0 for any free one.
        transport: "auto": TCP, and shared memory for clients on this machine. "tcp": no shared memory. "ipc": a socket in
            the folder for temporary files, for clients on this machine (not on Windows); address and port do not count.
        queue_size: How many samples may wait for clients.

    Raises:
        ConfigError: A value is out of range.
    """

    bind_addr: str = "127.0.0.1"
    port: int = field(default=0, metadata=_whole(0, 65_535))
    transport: Transport = field(default="auto", metadata=_one_of(TRANSPORTS))
    queue_size: int = field(default=10, metadata=_whole(1, 10_000))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bind_addr or any(letter.isspace() or letter in "/,;" for letter in self.bind_addr):
            self._refuse("bind_addr", self.bind_addr, "an address of this machine, such as '127.0.0.1'")


@dataclass(frozen=True)
class ClassEntry(_Checked):
    """The class of an object, or of all objects in a collection and in collections inside it.

    Attributes:
        name: What the class is called. Several entries may be of one class.
        class_id: Its number in labels; 0 is what has no class.
        type: What `target` is: "OBJECT" or "COLLECTION".
        target: Name of the object or collection.

    Raises:
        ConfigError: A value is out of range.
    """

    name: str = ""
    class_id: int = field(default=1, metadata=_whole(0, 2**32 - 1))
    type: ClassType = field(default="OBJECT", metadata=_one_of(CLASS_TYPES))
    target: str = ""


@dataclass(frozen=True)
class OutputSettings(_Checked):
    """What a sample is.

    Attributes:
        cameras: Names of the camera objects, each of which makes a sample of its own; none: the scene's active camera.
        width, height: Of the picture, pixels.
        renderer: "SOLID", "MATERIAL" and "RENDERED" draw as the 3D viewport does in that shading; "EEVEE" and "CYCLES" make
            final renders, which take many times as long.
        samples: Anti-aliasing: samples of each pixel. Solid takes the next of 1, 5, 8, 11, 16 and 32 that is not fewer.
        image_mode: Channels of the picture: "rgb" or "rgba".
        labels: What `btb.LabelRenderer` draws beside the picture: "ids", "depth", "normals_world", "normals_camera",
            "flow", "semantic"; may be empty.
        annotate: Whether samples have boxes, poses and the camera: the field `labels` (docs/labels.md).
        amodal: Whether those have amodal boxes, visible fractions and truncation, too.
        classes: Classes of objects and collections; the first entry that is about an object counts.
        animate: False: each index is a still scene, at the current frame. True: each index is an episode, whose frames are
            played one after the other.
        frame_start, frame_end: First and last frame of an episode, both included.
        episodes: How many indices (episodes, or still scenes) there are in all; 0: no end.

    Raises:
        ConfigError: A value is out of range.
    """

    cameras: tuple[str, ...] = ()
    width: int = field(default=320, metadata=_whole(_SMALLEST_SIDE, _LARGEST_SIDE))
    height: int = field(default=240, metadata=_whole(_SMALLEST_SIDE, _LARGEST_SIDE))
    renderer: Renderer = field(default="SOLID", metadata=_one_of(RENDERERS))
    samples: int = field(default=8, metadata=_whole(1, 65_536))
    image_mode: ImageMode = field(default="rgb", metadata=_one_of(IMAGE_MODES))
    labels: tuple[str, ...] = field(default=("ids", "depth"), metadata=_some_of(LABEL_OUTPUTS))
    annotate: bool = True
    amodal: bool = False
    classes: tuple[ClassEntry, ...] = ()
    animate: bool = False
    frame_start: int = field(default=1, metadata=_whole(-_LAST_FRAME, _LAST_FRAME))
    frame_end: int = field(default=1, metadata=_whole(-_LAST_FRAME, _LAST_FRAME))
    episodes: int = field(default=0, metadata=_whole(0, 2**31 - 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.cameras, tuple) or not all(isinstance(name, str) and name for name in self.cameras):
            self._refuse("cameras", self.cameras, "a list of names of camera objects")
        if len(set(self.cameras)) != len(self.cameras):
            self._refuse("cameras", self.cameras, "each camera once")
        if not isinstance(self.classes, tuple) or not all(isinstance(entry, ClassEntry) for entry in self.classes):
            self._refuse("classes", self.classes, "a list of ClassEntry")
        if self.frame_start > self.frame_end:
            raise ConfigError(
                f"frame_start is {self.frame_start} and frame_end {self.frame_end}, expected the first frame not to come "
                "after the last."
            )


@dataclass(frozen=True)
class RecordingOptions(_Checked):
    """How samples are recorded; see `btb.RecordingSettings`, which `recording_settings` makes of this.

    Attributes:
        folder: The folder; "//" at its beginning is the folder of the .blend.
        shard_samples: A shard has at most so many samples.
        encode_image: The format in which pictures are stored: "npy" (as they are), "png", "jpg" or "webp".
        num_samples: How many samples to record; 0: until stopped.
        fsync: When the disk is waited for: "never", after each "shard", or after each "sample".

    Raises:
        ConfigError: A value is out of range.
    """

    folder: str = "//recording"
    shard_samples: int = field(default=10_000, metadata=_whole(1, 2**31 - 1))
    encode_image: str = field(default="npy", metadata=_one_of(IMAGE_ENCODINGS))
    num_samples: int = field(default=1000, metadata=_whole(0, 2**31 - 1))
    fsync: Fsync = field(default="shard", metadata=_one_of(FSYNCS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.folder:
            self._refuse("folder", self.folder, "the path of a folder to record into")


@dataclass(frozen=True)
class WorkerSettings(_Checked):
    """Blenders without a window that make samples, too.

    Attributes:
        instances: How many.

    Raises:
        ConfigError: A value is out of range.
    """

    instances: int = field(default=2, metadata=_whole(1, 256))


@dataclass(frozen=True)
class UnknownRandomizer:
    """A randomizer that this version cannot read: it does nothing, and is saved again as it was.

    Attributes:
        raw: What was saved, JSON.
        reason: Why it cannot be read, in words.
        mute: Always true.
    """

    raw: Any
    reason: str = ""
    mute: bool = field(default=True, init=False)

    @property
    def label(self) -> str:
        """What the user called it; "" if nothing."""
        label = self.raw.get("label") if isinstance(self.raw, Mapping) else None
        return label if isinstance(label, str) else ""


@dataclass(frozen=True)
class SceneSetup(_Checked):
    """All that is set up for a scene.

    Attributes:
        seed: With the index of a sample it decides what the sample is like. The panel offers 0 to 2^31 - 1.
        stream: Where samples are to be had from.
        output: What a sample is.
        randomizers: What varies, in order.
        recording: How samples are recorded.
        workers: Blenders without a window.
        unknown: What a newer version has saved and this one does not know, JSON, in its place; it is saved again.

    Raises:
        ConfigError: A value is out of range, or of another type.
    """

    seed: int = field(default=0, metadata=_whole(0, 2**63 - 1))
    stream: StreamSettings = StreamSettings()
    output: OutputSettings = OutputSettings()
    randomizers: tuple["Randomizer | UnknownRandomizer", ...] = ()
    recording: RecordingOptions = RecordingOptions()
    workers: WorkerSettings = WorkerSettings()
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in fields(self):
            kind = SECTIONS.get(item.name)
            value = getattr(self, item.name)
            if kind is not None and not isinstance(value, kind):
                self._refuse(item.name, value, f"{kind.__name__}")
        from ..randomize import Randomizer

        kinds = (Randomizer, UnknownRandomizer)
        if not isinstance(self.randomizers, tuple) or not all(isinstance(one, kinds) for one in self.randomizers):
            self._refuse("randomizers", self.randomizers, "a list of randomizers, such as randomize.Rotation(...)")
        if not isinstance(self.unknown, Mapping):
            self._refuse("unknown", self.unknown, "a dict")


SECTIONS: dict[str, type[Any]] = {
    "stream": StreamSettings,
    "output": OutputSettings,
    "recording": RecordingOptions,
    "workers": WorkerSettings,
}
"""The parts of a setup that are dataclasses of plain values, by name."""
