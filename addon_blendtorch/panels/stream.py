"""Where samples are sent, and how that goes."""

import bpy

from blendtorch.wire.curve import is_loopback

from ..engine import engine
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, draw_engine_error, draw_figures, split_column, start_stop_button


class BLENDTORCH_PT_stream(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_stream"
    bl_parent_id = MAIN
    bl_label = "Stream"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch.stream
        streams = engine.state.stream
        start_stop_button(
            layout, streams, "blendtorch.stream_start", "blendtorch.stream_stop", ("Start Stream", "Stop Stream")
        )
        layout.operator("blendtorch.copy_client_snippet", icon="COPYDOWN")
        if streams:
            _draw_state(layout, settings)
        draw_engine_error(layout, context, "stream")
        column = split_column(layout)
        column.enabled = not streams
        column.prop(settings, "transport")
        if settings.transport != "ipc":
            column.prop(settings, "bind_addr")
            row = column.row()
            row.prop(settings, "port", text="Port" if settings.port else "Port (0: any)")
        column.prop(settings, "queue_size")
        if streams:
            draw_text(layout, context, "Stop the stream to change these.", icon="LOCKED")
        elif settings.transport != "ipc" and not is_loopback(settings.bind_addr):
            text = "Other machines can connect: the stream will be encrypted (CURVE), and clients need its keys. "
            draw_text(layout, context, text + "Copy Client Code says how.", icon="KEYINGSET")


def _draw_state(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    stats, endpoint = engine.stats, engine.endpoint
    address = endpoint.address if endpoint else ""
    figures = [("Address", address.removeprefix("tcp://")), ("Encrypted", "Yes, CURVE")]
    if endpoint is None or endpoint.curve is None:
        figures.pop()
    if stats is not None:
        figures += [
            ("Clients", str(stats.clients)),
            ("Sent", f"{stats.sent} samples"),
            ("Rate", f"{stats.images_per_s:.1f} images/s"),
        ]
    draw_figures(layout, figures)
    if stats is not None:
        _draw_waiting(layout, stats.waiting, max(settings.queue_size, 1))


def _draw_waiting(layout: bpy.types.UILayout, waiting: int, size: int) -> None:
    """What clients do not have for certain: in the queue, on its way to each of them, in the window's hands."""
    if waiting <= size:  # more is no fault: each client is sent some ahead
        layout.progress(factor=waiting / size, text=f"Waiting: {waiting} of {size}")
    else:
        layout.label(text=f"Waiting: {waiting} samples", translate=False)


CLASSES = (BLENDTORCH_PT_stream,)
