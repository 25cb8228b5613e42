"""BlendTorch: live, labelled, reproducible images from Blender into PyTorch.

`blendtorch.btt` is the training side (torch), `blendtorch.btb` the Blender side (bpy), `blendtorch.wire`
what both must agree on. This package itself imports none of them.
"""

__version__ = "0.1.0"
