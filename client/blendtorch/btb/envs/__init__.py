"""Environments that come with BlendTorch: scripts that run inside Blender, and modules to import there."""
