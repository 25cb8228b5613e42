"""Workbench, the engine of Solid and Wireframe shading and of quick renders."""

WORKBENCH_AA = {1: "OFF", 5: "5", 8: "8", 11: "11", 16: "16", 32: "32"}
"""The numbers of samples that it can take, and Blender's names of the anti-aliasing methods that have them."""
