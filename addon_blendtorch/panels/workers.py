"""The headless workers of this file: how many, and what each does."""

import re

import bpy

from .. import workers
from ..on_disk import problem_as_saved
from ..worker_launch import LIVING, WorkerState
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, draw_engine_error, draw_error, split_column, start_stop_button

_ICONS = {
    "starting": "SORTTIME",
    "running": "CHECKMARK",
    "restarting": "FILE_REFRESH",
    "ended": "CHECKMARK",
    "stopped": "SNAP_FACE",
    "died": "ERROR",
}
_LAST_LINES = 5  # of a log, in the panel; the whole is behind the button


class BLENDTORCH_PT_workers(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_workers"
    bl_parent_id = MAIN
    bl_label = "Workers"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch.workers
        runs = workers.is_running()
        start_stop_button(
            layout, runs, "blendtorch.workers_launch", "blendtorch.workers_stop", ("Launch Workers", "Stop Workers")
        )
        states = workers.states()
        if workers.is_ending():
            draw_text(layout, context, "The workers are ending.", icon="SORTTIME")
        elif states:
            _draw_states(layout, context, states)
        draw_error(layout, context, shortened(workers.error()))
        draw_engine_error(layout, context, "workers")
        column = split_column(layout)
        column.enabled = not runs
        column.prop(settings, "instances")
        column.prop(settings, "source")
        if runs:
            draw_text(layout, context, "Stop the workers to change these.", icon="LOCKED")
        elif settings.source == "SAVED" and (problem := problem_as_saved(context.scene)):
            draw_text(layout, context, problem, icon="ERROR")
        elif settings.source == "SAVED" and bpy.data.is_dirty:
            text = "There are unsaved changes: the workers will not have them."
            draw_text(layout, context, text, icon="INFO")


def _draw_states(layout: bpy.types.UILayout, context: bpy.types.Context, states: list[WorkerState]) -> None:
    column = layout.column(align=True)
    told = set()  # most often all die of the same
    for one in states:
        split = column.split(factor=0.82)
        row = split.row()
        row.alert = one.state == "died"
        row.label(text=_summary(one), icon=_ICONS[one.state], translate=False)
        log = split.row()
        log.enabled = one.log_file is not None and one.log_file.exists()
        log.operator("blendtorch.workers_log", text="Log").number = one.number
        if one.state == "died":
            why = shortened(one.detail)
            if why and why not in told:
                told.add(why)
                draw_text(column, context, why, alert=True)
        elif one.detail and one.state in LIVING:
            draw_text(column, context, f"Restarted: it {one.detail.splitlines()[0]}")
    living = [one for one in states if one.state == "running"]
    if len(living) > 1:
        total = sum(one.images_per_s for one in living)
        column.label(text=f"Together {total:.1f} images/s", icon="BLANK1", translate=False)


def _summary(one: WorkerState) -> str:
    text = f"{one.number}: {one.state}"
    if one.state == "running":
        text += f", {one.images_per_s:.1f}/s, {one.images}"
    elif one.images:
        text += f", {one.images} images"
    if one.restarts:
        text += f", {one.restarts}x again"
    return text


def shortened(report: str) -> str:
    """A report of a worker's end for a narrow panel: what a script has said is enough; of others the log's end may tell."""
    what, _, rest = report.partition("\ncommand: ")
    _, mark, log = rest.partition("--- end of its log ---\n")
    if not mark:
        return report
    if said := re.match(r"Blender instance \d+ failed: (?:[\w.]+: )?(.+)", what, re.DOTALL):
        return said[1]
    lines = [line for line in log.splitlines() if line.strip()]
    return "\n".join([re.sub(r"^Blender instance \d+", "It", what), *lines[-_LAST_LINES:]])


CLASSES = (BLENDTORCH_PT_workers,)
