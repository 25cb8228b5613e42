"""The panels in the sidebar of the 3D viewport, tab BlendTorch. They draw, and nothing else."""

import bpy

from . import environment, main, messages, output, randomizers, recording, stream, workers

CLASSES = (
    *main.CLASSES,
    *stream.CLASSES,
    *output.CLASSES,
    *randomizers.CLASSES,
    *recording.CLASSES,
    *workers.CLASSES,
    *environment.CLASSES,
    *messages.CLASSES,
)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
