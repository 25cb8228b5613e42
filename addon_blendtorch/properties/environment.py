"""The property group of a scene's environment, `scene.blendtorch_environment`.

Beside `scene.blendtorch`, which is `btb.setup.SceneSetup`: what samples are made of, with the add-on or without it.
"""

import bpy
from bpy.props import BoolProperty, IntProperty, PointerProperty, StringProperty


class EnvironmentProperties(bpy.types.PropertyGroup):
    """Which environment is served to Gymnasium, and where."""

    text: PointerProperty(
        type=bpy.types.Text,
        name="Text",
        description="Text that has the environment's class, a subclass of btb.env.BaseEnv or BaseVectorEnv. It is executed "
        "when the environment is started",
    )
    class_name: StringProperty(
        name="Class",
        description="Name of the environment's class; empty: what the text gives to btb.env.run, or else the only class "
        "there is",
    )
    port: IntProperty(
        name="Port",
        description="Port of 127.0.0.1 that the client, on this machine, connects to; 0: one that is free",
        min=0,
        max=65535,
        default=11100,
    )
    real_time: BoolProperty(
        name="Real Time",
        description="Play the frames by the clock, whatever the client does; off: a step's frames when the client asks for "
        "them. A client may say itself which it wants",
    )


CLASSES = (EnvironmentProperties,)
