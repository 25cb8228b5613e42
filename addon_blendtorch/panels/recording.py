"""Recording to disk, and how far it is."""

import bpy

from blendtorch.hub import HubStats

from ..engine import engine
from ..wrapped_text import draw_text
from .base import (
    MAIN,
    SidebarPanel,
    draw_engine_error,
    draw_figures,
    in_bytes,
    in_time,
    split_column,
    start_stop_button,
)


class BLENDTORCH_PT_recording(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_recording"
    bl_parent_id = MAIN
    bl_label = "Recording"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch.recording
        records = engine.state.recording
        start_stop_button(
            layout, records, "blendtorch.record_start", "blendtorch.record_stop", ("Record", "Stop Recording")
        )
        _draw_progress(layout, records)
        draw_engine_error(layout, context, "recording")
        column = split_column(layout)
        column.enabled = not records
        column.prop(settings, "folder")
        column.prop(settings, "num_samples", text="Samples" if settings.num_samples else "Samples (0: any)")
        column.prop(settings, "shard_samples", text="Per File")
        column.prop(settings, "encode_image")
        column.prop(settings, "fsync")
        if records:
            draw_text(layout, context, "Stop the recording to change these.", icon="LOCKED")
        elif settings.folder.startswith("//") and not bpy.data.filepath:
            text = "// is the folder of the .blend, which was never saved. Save it, or choose another folder."
            draw_text(layout, context, text, icon="ERROR")


def _draw_progress(layout: bpy.types.UILayout, records: bool) -> None:
    stats = engine.stats
    if stats is None or not (records or stats.recorded):
        return
    progress = progress_of(stats) if records else None
    if progress is not None:
        layout.progress(factor=progress[0], text=progress[1])
    figures = [] if progress else [("Recorded", f"{stats.recorded} samples")]
    if records:
        figures.append(("Rate", f"{stats.images_per_s:.1f} images/s"))
    if progress and stats.seconds_left is not None:
        figures.append(("Time Left", in_time(stats.seconds_left)))
    figures.append(("On Disk", in_bytes(stats.recorded_bytes)))
    draw_figures(layout, figures)


def progress_of(stats: HubStats) -> tuple[float, str] | None:
    """How far the recording is, from 0 to 1 and in words; None where it goes on until it is stopped.

    Its goal is the one that it was started with: the scene that is shown may be another one, with a goal of its own.
    """
    if not stats.num_samples:
        return None
    return min(1.0, stats.recorded / stats.num_samples), f"{stats.recorded} of {stats.num_samples} samples"


CLASSES = (BLENDTORCH_PT_recording,)
