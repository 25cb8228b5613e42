"""Has the panels drawn again, and nothing else: drawing a viewport takes many times as long."""

from .editors import areas_of


def redraw() -> None:
    """Has the sidebars of all 3D viewports drawn again, those that are open."""
    for area in areas_of("VIEW_3D"):
        for region in area.regions:
            if region.type == "UI" and region.width > 1:
                region.tag_redraw()


def redraw_image_editors() -> None:
    """Has the pictures of all image editors drawn again."""
    for ui_type in ("IMAGE_EDITOR", "UV"):
        for area in areas_of(ui_type):
            area.tag_redraw()
