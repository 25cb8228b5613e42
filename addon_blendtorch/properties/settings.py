"""Property groups for the settings of the stream, of recordings and of workers."""

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .paths import path_property


class StreamProperties(bpy.types.PropertyGroup):
    """Where samples are sent."""

    bind_addr: StringProperty(
        name="Address",
        description="Network address of this machine that clients connect to: 127.0.0.1 for this machine alone, "
        "0.0.0.0 for all. Anything but this machine alone is encrypted, and clients need the key",
        default="127.0.0.1",
    )
    port: IntProperty(
        name="Port",
        description="Port that clients connect to; 0: one that is free",
        min=0,
        max=65535,
        default=0,
    )
    transport: EnumProperty(
        name="Transport",
        description="How samples reach the clients",
        items=(
            ("auto", "Automatic", "A network socket; on the same machine images pass through shared memory"),
            ("tcp", "Network", "A network socket alone, also on the same machine"),
            ("ipc", "Local Socket", "A socket in the folder of temporary files: for clients on the same machine"),
        ),
    )
    queue_size: IntProperty(
        name="Queue",
        description="Samples that wait for clients; Blender makes no more while so many wait",
        min=1,
        max=10_000,
        soft_max=100,
        default=10,
    )


class RecordingProperties(bpy.types.PropertyGroup):
    """What is recorded, and how."""

    folder: path_property(
        "DIR_PATH",
        name="Folder",
        description="Where to record to; // at its beginning is the folder of the .blend",
        default="//recording",
    )
    shard_samples: IntProperty(
        name="Samples per File",
        description="A .tar file of the recording has at most so many samples",
        min=1,
        default=10_000,
    )
    encode_image: EnumProperty(
        name="Images",
        description="How images are stored",
        items=(
            ("npy", "Raw", "As they are: fast to write and read, and large"),
            ("png", "PNG", "Compressed without loss"),
            ("jpg", "JPEG", "Small, with loss"),
            ("webp", "WebP", "Smaller, with loss"),
        ),
    )
    num_samples: IntProperty(
        name="Samples", description="How many samples to record; 0: until it is stopped", min=0, default=1000
    )
    fsync: EnumProperty(
        name="Wait for Disk",
        description="When the disk is waited for, so that what was written survives a loss of power",
        items=(
            ("never", "Never", "Leave it to the system; what was written survives the end of Blender all the same"),
            ("shard", "Each File", "After each .tar file"),
            ("sample", "Each Sample", "After each sample; slow"),
        ),
        default="shard",
    )


class WorkerProperties(bpy.types.PropertyGroup):
    """Blenders without a window that make samples of this file."""

    instances: IntProperty(
        name="Workers",
        description="How many Blenders without a window are started; each takes memory and the time of a processor core",
        min=1,
        soft_max=16,
        max=256,
        default=2,
    )
    # Of the panel alone.
    source: EnumProperty(
        name="File",
        description="What the workers load",
        items=(
            ("SAVED", "As Saved", "The .blend as it is on disk"),
            ("NOW", "As It Is Now", "A copy of the present state, unsaved changes included"),
        ),
        default="NOW",
    )


CLASSES = (StreamProperties, RecordingProperties, WorkerProperties)
