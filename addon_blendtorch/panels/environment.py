"""The environment that is served to Gymnasium, and how that goes."""

import math

import bpy

from .. import environment
from ..engine import engine
from ..environment import Figures
from ..wrapped_text import draw_text
from .base import MAIN, SidebarPanel, draw_engine_error, draw_figures, split_column, start_stop_button


class BLENDTORCH_PT_environment(SidebarPanel, bpy.types.Panel):
    bl_idname = "BLENDTORCH_PT_environment"
    bl_parent_id = MAIN
    bl_label = "Environment"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.blendtorch_environment
        runs = engine.state.environment
        start_stop_button(
            layout,
            runs,
            "blendtorch.environment_start",
            "blendtorch.environment_stop",
            ("Start Environment", "Stop Environment"),
        )
        figures = environment.figures()
        if figures is not None:
            draw_figures(layout, _lines(figures))
        draw_engine_error(layout, context, "environment")
        column = split_column(layout)
        column.enabled = not runs
        column.prop(settings, "text")
        column.prop(settings, "class_name")
        column.prop(settings, "port", text="Port" if settings.port else "Port (0: any)")
        column.prop(settings, "real_time")
        if runs:
            draw_text(layout, context, "Stop the environment to change these.", icon="LOCKED")
        elif settings.text is None:
            draw_text(layout, context, "Choose the text that has a subclass of btb.env.BaseEnv.", icon="INFO")


def _lines(figures: Figures) -> list[tuple[str, str]]:
    """What is told of an environment that runs; returns are those of an episode, of many agents their mean."""
    agents = f" ({figures.num_agents} agents)" if figures.num_agents > 1 else ""
    return [
        ("Address", figures.address.removeprefix("tcp://")),
        ("Client", "Connected" if figures.has_client else "None yet"),
        ("Episodes", f"{figures.episodes} finished{agents}"),
        ("Return", _amount(figures.running_return)),
        ("Last Return", _amount(figures.last_return)),
        ("Rate", f"{figures.steps_per_s:.1f} steps/s"),
    ]


def _amount(value: float) -> str:
    return "None yet" if math.isnan(value) else f"{value:.2f}"


CLASSES = (BLENDTORCH_PT_environment,)
