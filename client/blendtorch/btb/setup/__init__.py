"""What is set up for a scene, in the panel or by a script: saved in the .blend, and run the same with and without a window.

::

    setup = btb.setup.SceneSetup(seed=7, randomizers=(...,), output=btb.setup.OutputSettings(width=128, height=128))
    btb.setup.save(setup, bpy.context.scene)
    with btb.setup.SampleMaker(setup) as maker:
        for sample in maker.samples(index=0):
            ...

Settings are frozen dataclasses (`settings`), plain JSON in the scene (`stored`), and `SampleMaker` makes samples of them. A
scene that is launched without a script runs `serve`.
"""

from .check import check
from .recording import recording_settings
from .sample_maker import SampleMaker, frame_address
from .settings import (
    SECTIONS,
    ClassEntry,
    OutputSettings,
    RecordingOptions,
    SceneSetup,
    StreamSettings,
    UnknownRandomizer,
    WorkerSettings,
)
from .stored import KEY, VERSION, from_json, load, save, to_json

__all__ = [
    "KEY",
    "SECTIONS",
    "VERSION",
    "ClassEntry",
    "OutputSettings",
    "RecordingOptions",
    "SampleMaker",
    "SceneSetup",
    "StreamSettings",
    "UnknownRandomizer",
    "WorkerSettings",
    "check",
    "frame_address",
    "from_json",
    "load",
    "recording_settings",
    "save",
    "to_json",
]
