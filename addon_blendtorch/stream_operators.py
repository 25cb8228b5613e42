"""Operators that start and stop the stream, and tell clients how to receive it."""

from typing import ClassVar

import bpy

from blendtorch.errors import BlendTorchError, ConfigError

from .client_snippet import snippet, write_launch_info
from .engine import engine
from .engine_errors import NO_TIMERS, in_words
from .preferences import cache_folder
from .stream_address import folder_in


class BLENDTORCH_OT_stream_start(bpy.types.Operator):
    bl_idname = "blendtorch.stream_start"
    bl_label = "Start Stream"
    bl_description = (
        "Make samples of this scene and give them to whoever connects, as fast as they are taken. The scene stays as it "
        "is. Esc stops it"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if engine.state.stream:
            cls.poll_message_set("The stream runs already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            address = engine.start_stream(context.scene)
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        if bpy.app.background:
            self.report({"WARNING"}, NO_TIMERS)
        self.report({"INFO"}, f"BlendTorch streams at {address}")
        return {"FINISHED"}


class BLENDTORCH_OT_stream_stop(bpy.types.Operator):
    bl_idname = "blendtorch.stream_stop"
    bl_label = "Stop Stream"
    bl_description = "End the stream: clients are told that it has ended. A recording goes on"
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.stream:
            cls.poll_message_set("The stream does not run")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            engine.stop_stream()
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class BLENDTORCH_OT_copy_client_snippet(bpy.types.Operator):
    bl_idname = "blendtorch.copy_client_snippet"
    bl_label = "Copy Client Code"
    bl_description = (
        "Copy a few lines of Python to the clipboard that receive this stream in batches. Where other machines can "
        "connect they read the keys from a file that only you can read; it goes when the stream ends"
    )
    bl_options: ClassVar[set[str]] = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not engine.state.stream:
            cls.poll_message_set("Start the stream first: until then it has no port")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            context.window_manager.clipboard = client_code()
        except BlendTorchError as error:
            self.report({"ERROR"}, in_words(error))
            return {"CANCELLED"}
        self.report({"INFO"}, "BlendTorch: the client's code is in the clipboard")
        return {"FINISHED"}


def client_code() -> str:
    """The lines of Python that receive the stream that runs.

    Raises:
        ConfigError: The file with the keys cannot be written.
    """
    endpoint = engine.endpoint
    if endpoint.curve is None:
        return snippet(endpoint.address)
    if endpoint.folder is None:
        endpoint.folder = folder_in(cache_folder())  # goes with the stream, and with this process however it ends
    file = endpoint.folder.path / "launch_info.json"
    try:
        write_launch_info(file, endpoint.address, endpoint.curve)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror or error}. Choose another Cache Folder in the preferences of "
            "BlendTorch."
        ) from error
    return snippet(endpoint.address, file)


CLASSES = (BLENDTORCH_OT_stream_start, BLENDTORCH_OT_stream_stop, BLENDTORCH_OT_copy_client_snippet)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
