"""The keys of a launch: what each end gets of them, and how they travel."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from blendtorch.btt import CurveKeys, LaunchInfo
from blendtorch.errors import ConfigError
from blendtorch.wire.curve import ENVIRONMENT_VARIABLE, curve_from_environment

KEYS = CurveKeys.generate()
OTHERS = CurveKeys.generate()


def test_keys_are_new_each_time_and_hidden() -> None:
    secrets = {KEYS.server_secret, KEYS.client_secret, OTHERS.server_secret, OTHERS.client_secret}
    assert len(secrets) == 4
    for shown in (repr(KEYS), str(KEYS), f"{LaunchInfo({}, curve=KEYS)}"):
        assert KEYS.server_public in shown
        assert not any(secret in shown for secret in secrets)


def test_each_end_gets_no_more_than_it_needs() -> None:
    assert KEYS.for_clients() == replace(KEYS, server_secret=None)
    assert KEYS.for_instances() == replace(KEYS, client_secret=None)
    assert pickle.loads(pickle.dumps(KEYS)) == KEYS  # to the workers of a DataLoader


@pytest.mark.parametrize("keys", [KEYS, KEYS.for_clients(), KEYS.for_instances()])
def test_as_text_and_back(keys: CurveKeys) -> None:
    assert CurveKeys.from_text(f"{keys.to_text()}\n") == keys


@pytest.mark.parametrize("text", ["x", ",,,", f"{KEYS.server_public},{KEYS.client_public}", KEYS.to_text()[1:]])
def test_what_is_no_keys_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigError, match=r"CurveKeys\.generate") as caught:
        CurveKeys.from_text(text)
    assert KEYS.server_secret not in str(caught.value)


def test_a_pair_that_is_none_is_refused() -> None:
    for wrong in ({"server_public": OTHERS.server_public}, {"client_secret": OTHERS.client_secret}):
        with pytest.raises(ConfigError, match="not of one pair"):
            replace(KEYS, **wrong)


def test_the_environment_gives_the_keys_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blendtorch.wire.curve._of_this_process", None)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert curve_from_environment() is None
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, KEYS.to_text())
    assert curve_from_environment() == KEYS
    assert ENVIRONMENT_VARIABLE not in os.environ  # what a script starts shall not inherit them
    assert curve_from_environment() == KEYS
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "nonsense")
    with pytest.raises(ConfigError, match=ENVIRONMENT_VARIABLE):
        curve_from_environment()


def test_the_launch_info_carries_the_clients_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "info.json"
    info = LaunchInfo({"DATA": ["tcp://10.0.0.1:11000"]}, curve=KEYS.for_clients())
    info.save_json(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert LaunchInfo.load_json(file) == info
    assert KEYS.server_secret not in file.read_text()
    assert not caplog.records
    file.chmod(0o644)
    LaunchInfo.load_json(file)
    (record,) = caplog.records
    assert f"chmod 600 {file}" in record.message


@pytest.mark.parametrize(
    "curve", ["x", [], {}, {"server_public": "x", "client_public": "y"}, {"server_public": KEYS.server_public}, 3]
)
def test_a_launch_info_with_other_keys_is_none(tmp_path: Path, curve: object) -> None:
    file = tmp_path / "info.json"
    file.write_text(json.dumps({"addresses": {}, "curve": curve}))
    with pytest.raises(ConfigError, match="is not a launch info"):
        LaunchInfo.load_json(file)
