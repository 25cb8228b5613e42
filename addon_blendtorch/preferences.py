"""The preferences of the add-on, and its check of the installation."""

from dataclasses import dataclass
from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from blendtorch.errors import ConfigError

from .installation import check_installation
from .redraw import redraw
from .wrapped_text import draw_text

_ICONS = {"OK": "CHECKMARK", "WARNING": "ERROR", "FAILED": "CANCEL"}


@dataclass(frozen=True)
class DefaultPreferences:
    """What the preferences are as long as there are none: `--addons` enables an add-on without them."""

    bind_addr: str = "127.0.0.1"
    port: int = 0
    cache_folder: str = ""
    log_folder: str = ""


class BlendTorchPreferences(bpy.types.AddonPreferences):
    """Preferences > Add-ons > BlendTorch."""

    bl_idname = __package__

    bind_addr: StringProperty(
        name="Address",
        description="Network address that streams of scenes which were not set up yet are offered at: "
        "127.0.0.1 for this machine alone",
        default=DefaultPreferences.bind_addr,
    )
    port: IntProperty(
        name="Port",
        description="Port of streams of scenes which were not set up yet; 0: one that is free",
        min=0,
        max=65535,
        default=DefaultPreferences.port,
    )
    cache_folder: StringProperty(
        name="Cache Folder",
        description="Where copies of files for workers, local sockets and files with keys are while they are needed; "
        "empty: the system's folder for temporary files",
        subtype="DIR_PATH",
    )
    log_folder: StringProperty(
        name="Log Folder",
        description="Where the logs of workers are kept, of each launch in a folder of its own, until you delete them; "
        "empty: in the cache folder, until they are stopped",
        subtype="DIR_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draws them."""
        layout = self.layout
        column = layout.column()
        column.use_property_split = True
        column.prop(self, "bind_addr", text="Address of New Scenes")
        column.prop(self, "port", text="Port (0: any)")
        column = layout.column()
        column.use_property_split = True
        column.prop(self, "cache_folder")
        column.prop(self, "log_folder")
        layout.operator(BLENDTORCH_OT_check_installation.bl_idname, icon="VIEWZOOM")
        if context.window_manager.blendtorch.check_lines:
            draw_check_lines(layout.box(), context)


class BLENDTORCH_OT_check_installation(bpy.types.Operator):
    """Look whether BlendTorch has all that it needs on this machine, and say what to do about what is missing."""

    bl_idname = "blendtorch.check_installation"
    bl_label = "Check Installation"
    bl_description = (
        "Look whether BlendTorch has all that it needs on this machine, and say what to do about what is missing. "
        "Nothing is sent over the network"
    )
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Looks at everything; the lines are in `wm.blendtorch.check_lines`."""
        preferences = get_preferences()
        found = check_installation({"cache folder": preferences.cache_folder, "log folder": preferences.log_folder})
        lines = context.window_manager.blendtorch.check_lines
        lines.clear()
        for line in found:
            item = lines.add()
            item.name, item.status, item.seen, item.fix = line.name, line.status.name, line.seen, line.fix
        failed = [line for line in found if line.status.name == "FAILED"]
        if failed:
            told = "; ".join(f"{line.name}: {line.seen}. {line.fix}" for line in failed)
            self.report({"WARNING"}, f"BlendTorch cannot work fully here. {told}")
        else:
            warnings = sum(line.status.name == "WARNING" for line in found)
            more = f", {warnings} to be looked at in its preferences" if warnings else ""
            self.report({"INFO"}, f"BlendTorch has all that it needs{more}")
        redraw()
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Shows the lines in a pop-up where the preferences, which show them too, are not open."""
        result = self.execute(context)
        if context.area is None or context.area.type != "PREFERENCES":
            context.window_manager.popup_menu(
                lambda popup, context: draw_check_lines(popup.layout, context), title=self.bl_label
            )
        return result


def draw_check_lines(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draws what the check of the installation has found."""
    for line in context.window_manager.blendtorch.check_lines:
        text = f"{line.name}: {line.seen}" + (f"\n{line.fix}" if line.fix else "")
        draw_text(layout, context, text, icon=_ICONS[line.status], alert=line.status == "FAILED")


def get_preferences() -> BlendTorchPreferences | DefaultPreferences:
    """The preferences, or their defaults where the add-on is enabled without any."""
    addon = bpy.context.preferences.addons.get(__package__)
    found = addon.preferences if addon is not None else None
    return found if found is not None else DefaultPreferences()


def log_folder() -> Path | None:
    """Where logs of workers are kept, made if it is not there; None if nothing is set."""
    path = get_preferences().log_folder
    return _made(path, "log folder") if path else None


def cache_folder() -> Path | None:
    """Where files are kept while they are needed, made if it is not there; None if nothing is set."""
    path = get_preferences().cache_folder
    return _made(path, "cache folder") if path else None


def _made(path: str, what: str) -> Path:
    folder = Path(bpy.path.abspath(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The {what} {folder} cannot be made: {error.strerror or error}. Choose another one in the preferences of "
            "BlendTorch."
        ) from None
    return folder


CLASSES = (BLENDTORCH_OT_check_installation, BlendTorchPreferences)
register, unregister = bpy.utils.register_classes_factory(CLASSES)
