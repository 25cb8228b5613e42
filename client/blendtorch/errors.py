"""The errors that BlendTorch raises: one root, and children that are also the builtin error one would expect.

Every message says what was seen, what was expected and what to do. All of them can be rebuilt from one string,
which is what a `DataLoader` does with an exception of a worker process.
"""


class BlendTorchError(Exception):
    """Root of all errors raised by BlendTorch."""


class ConfigError(BlendTorchError, ValueError):
    """A setting is out of range, unknown, or contradicts another one."""


class UnknownSocketError(BlendTorchError, KeyError):
    """No socket of that name was launched."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError itself would quote it


class MissingFileError(BlendTorchError, FileNotFoundError):
    """A scene, script or configuration file is not there."""


class ProtocolError(BlendTorchError, ValueError):
    """A message is malformed, truncated, oversized or foreign. Nothing of it was executed."""


class ProtocolVersionError(ProtocolError):
    """The peer is a BlendTorch that speaks another version of the protocol."""


class PickleNotAllowedError(ProtocolError, TypeError):
    """A value needs pickle, and this end did not allow it."""


class EncodeError(BlendTorchError, ValueError):
    """A message or a sample cannot be expressed within the limits of the protocol or of a recording."""


class AddressError(BlendTorchError, OSError):
    """An address cannot be bound or connected: in use, malformed, or not of this machine."""


class SharedMemoryError(BlendTorchError, OSError):
    """The system's shared memory is too small, or what a peer has put there cannot be reached."""


class PeerTimeout(BlendTorchError, TimeoutError):
    """The peer sent or took nothing for as long as was agreed."""


class AuthenticationError(BlendTorchError, PermissionError):
    """The peer refuses to talk to this end: it wants keys, or other ones."""


class BlenderNotFoundError(BlendTorchError, FileNotFoundError):
    """No Blender was found that can serve; the message lists all that were tried and why not."""


class InstanceError(BlendTorchError, RuntimeError):
    """A launched Blender failed; the message ends with the tail of its log."""


class InstanceStartTimeout(InstanceError, TimeoutError):
    """A launched Blender did not report in time that its script is running."""


class ScriptError(InstanceError):
    """The script that runs inside Blender raised; the message carries its traceback."""


class SceneError(BlendTorchError, RuntimeError):
    """A scene cannot be loaded, or lacks what was asked of it (a camera, a 3D viewport)."""


class RandomizeError(SceneError):
    """A randomizer cannot do what it is set to: what it is to change is not there, or its hook raised.

    Attributes:
        number: Its place in the list of randomizers, from 0; None where there is no list.
        traceback: Of an error in a hook, or of one that was not foreseen; else "".
    """

    def __init__(self, message: str, number: int | None = None, traceback: str = "") -> None:
        super().__init__(message)
        self.number = number
        self.traceback = traceback


class LabelError(BlendTorchError, ValueError):
    """Labels of a sample contradict each other."""


class ExrError(BlendTorchError, ValueError):
    """Not an EXR file, a damaged one, or one of a kind that is not read here."""


class RecordingError(BlendTorchError, ValueError):
    """A recording, or a sample of it, is damaged, incomplete, or none that BlendTorch has written."""


class RecordingWriteError(BlendTorchError, OSError):
    """A recording cannot be written on: the disk is full, or the folder cannot be written to. What was written is kept."""
