"""Errors travel: each is what one would expect to catch, and survives a `DataLoader` worker."""

import inspect
import pickle

import pytest
from torch._utils import ExceptionWrapper

from blendtorch import errors

BUILTIN = {
    "ConfigError": ValueError,
    "MissingFileError": FileNotFoundError,
    "UnknownSocketError": KeyError,
    "ProtocolError": ValueError,
    "ProtocolVersionError": ValueError,
    "PickleNotAllowedError": TypeError,
    "EncodeError": ValueError,
    "AddressError": OSError,
    "SharedMemoryError": OSError,
    "PeerTimeout": TimeoutError,
    "AuthenticationError": PermissionError,
    "BlenderNotFoundError": FileNotFoundError,
    "InstanceError": RuntimeError,
    "InstanceStartTimeout": TimeoutError,
    "ScriptError": RuntimeError,
    "SceneError": RuntimeError,
    "RandomizeError": RuntimeError,
    "LabelError": ValueError,
    "ExrError": ValueError,
    "RecordingError": ValueError,
    "RecordingWriteError": OSError,
}
ERRORS = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and cls is not errors.BlendTorchError}


def test_the_table_is_complete() -> None:
    assert set(ERRORS) == set(BUILTIN)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_also_the_builtin_one_would_expect(name: str) -> None:
    assert issubclass(ERRORS[name], errors.BlendTorchError)
    assert issubclass(ERRORS[name], BUILTIN[name])
    assert ERRORS[name].__doc__


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_rebuilt_from_one_string(name: str) -> None:
    error = ERRORS[name]("what was seen")
    assert str(error) == "what was seen"
    assert str(pickle.loads(pickle.dumps(error))) == "what was seen"
    try:
        raise error
    except errors.BlendTorchError:
        wrapped = pickle.loads(pickle.dumps(ExceptionWrapper(where="in a worker")))
    with pytest.raises(ERRORS[name], match="what was seen") as caught:
        wrapped.reraise()
    assert type(caught.value) is ERRORS[name]


def test_an_address_error_keeps_its_number() -> None:
    error = errors.AddressError(98, "cannot bind")
    assert (error.errno, error.strerror) == (98, "cannot bind")
