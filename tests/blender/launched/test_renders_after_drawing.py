"""What was drawn before does not take anything away from a render."""

import os
import subprocess

# glibc fills memory with this when it is allocated and freed: Blender cannot count on zeros that are there by chance.
FILLED = {**os.environ, "MALLOC_PERTURB_": "165"}
RENDER = """
import os
import bpy
from blendtorch import btb
scene = bpy.context.scene
scene.render.resolution_x, scene.render.resolution_y = 120, 90
assert btb.OffScreenRenderer().render().any()
scene.render.engine, scene.display.render_aa, scene.render.film_transparent = "BLENDER_WORKBENCH", "OFF", True
scene.render.image_settings.color_mode, scene.render.filepath = "RGBA", {path!r}
bpy.ops.render.render(write_still=True)
image = bpy.data.images.load(scene.render.filepath)
print("PIXELS", sum(alpha > 0.5 for alpha in image.pixels[:][3::4]), flush=True)
os._exit(0)
"""


def test_the_first_workbench_render_is_not_empty(blender, tmp_path):
    code = RENDER.format(path=str(tmp_path / "render.png"))
    done = subprocess.run([blender, "-c", code], env=FILLED, capture_output=True, text=True, timeout=120)
    found = [line for line in done.stdout.splitlines() if line.startswith("PIXELS")]
    assert found == ["PIXELS 1504"], done.stdout[-500:] + done.stderr[-2000:]  # the cube of the default scene
