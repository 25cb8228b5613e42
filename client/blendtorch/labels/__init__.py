"""Labels in plain numpy, for both sides: projection, boxes, poses, keypoints, flow. Imports numpy and errors alone."""

from .boxes import boxes_from_ids
from .boxes3d import box_corners
from .camera import camera_labels
from .check import LabelChecker, Tolerances, check_labels
from .flow import occlusion, warp
from .instances import instance_labels
from .keypoints import coco_keypoints, keypoint_visibility
from .poses import rigid_poses, rotation_vectors, velocities
from .tolerance import DepthTolerance

__all__ = [
    "DepthTolerance",
    "LabelChecker",
    "Tolerances",
    "box_corners",
    "boxes_from_ids",
    "camera_labels",
    "check_labels",
    "coco_keypoints",
    "instance_labels",
    "keypoint_visibility",
    "occlusion",
    "rigid_poses",
    "rotation_vectors",
    "velocities",
    "warp",
]
