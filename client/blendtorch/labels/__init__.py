"""Labels in plain numpy, for both sides: projection, boxes, poses, keypoints, flow, pictures of them.

Imports numpy and errors alone.
"""

from .boxes import boxes_from_ids
from .boxes3d import box_corners
from .camera import camera_labels
from .check import LabelChecker, Tolerances, check_labels
from .flow import occlusion, warp
from .instances import instance_labels
from .keypoints import coco_keypoints, keypoint_visibility
from .pictures import PANELS, depth_to_rgb, ids_to_rgb, normals_to_rgb, panels
from .poses import rigid_poses, rotation_vectors, velocities
from .tolerance import DepthTolerance

__all__ = [
    "PANELS",
    "DepthTolerance",
    "LabelChecker",
    "Tolerances",
    "box_corners",
    "boxes_from_ids",
    "camera_labels",
    "check_labels",
    "coco_keypoints",
    "depth_to_rgb",
    "ids_to_rgb",
    "instance_labels",
    "keypoint_visibility",
    "normals_to_rgb",
    "occlusion",
    "panels",
    "rigid_poses",
    "rotation_vectors",
    "velocities",
    "warp",
]
