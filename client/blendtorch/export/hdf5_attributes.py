"""What an HDF5 export says of its datasets: units, frames and meanings, those of docs/labels.md."""

from typing import Any

CONVENTIONS = (
    "Images: row 0 is the top. Pixel coordinates: (0, 0) is the outer corner of the upper left pixel, x to the right, y "
    "down. Lengths are metres, times seconds, angles radians. Matrices are TO_from_FROM and act on column vectors. Blender "
    "camera axes: +X right, +Y up, looks along -Z. OpenCV camera axes: +X right, +Y down, looks along +Z."
)
"""Root attribute "conventions"."""

_WORLD, _CAMERA, _OPENCV, _OBJECT = "world", "Blender camera axes", "OpenCV camera axes", "object axes"


def _about(unit: str = "", frame: str = "", about: str = "") -> dict[str, str]:
    return {name: text for name, text in (("unit", unit), ("frame", frame), ("about", about)) if text}


_KNOWN = {
    "image": _about(about="sRGB, display-referred"),
    "ids": _about(about="labels/instances/id of what each pixel shows; 0 is the background"),
    "depth": _about("m", about="along the optical axis; background inf"),
    "normals_camera": _about(frame=_CAMERA, about="unit vectors; background 0"),
    "normals_world": _about(frame=_WORLD, about="unit vectors; background 0"),
    "semantic": _about(about="class ids; 0 is the background and what has no class"),
    "flow_backward": _about("px", about="pixel of this picture to where it was in the one before; NaN where unknown"),
    "flow_forward": _about("px", about="pixel of the picture before to where it is in this one; NaN where unknown"),
    "occluded_backward": _about(about="whether the picture before does not show it"),
    "occluded_forward": _about(about="whether this picture does not show it"),
    "labels/camera/shape": _about("px", about="height and width"),
    "labels/camera/intrinsics": _about("px", _OPENCV, "K; absent where the camera is orthographic"),
    "labels/camera/camera_from_world": _about("m", _CAMERA),
    "labels/camera/camera_from_world_opencv": _about("m", _OPENCV),
    "labels/camera/clip_from_camera": _about(frame=_CAMERA, about="OpenGL projection matrix"),
    "labels/camera/distortion": _about(about="OpenCV's k1, k2, p1, p2, k3[, k4, k5, k6]"),
    "labels/instances/id": _about(about="value in the image of ids"),
    "labels/instances/object": _about(about="name of the object whose geometry it is"),
    "labels/instances/instancer": _about(about='name of the object that shows it; "" where it shows itself'),
    "labels/instances/class_id": _about(about="0 has no class; names are in the attribute metadata"),
    "labels/instances/pixels": _about("px", about="how many show it"),
    "labels/instances/box": _about("px", about="x1, y1, x2, y2 of the pixels that show it; zeros without any"),
    "labels/instances/box_amodal": _about("px", about="x1, y1, x2, y2 of the whole silhouette"),
    "labels/instances/visible_fraction": _about(about="pixels that show it / pixels of the whole silhouette"),
    "labels/instances/truncation": _about(about="share of the silhouette that is beyond the frame"),
    "labels/instances/bounds": _about("object's", _OBJECT, "lowest and highest corner"),
    "labels/instances/world_from_object": _about("m", _WORLD, "with scale and shear"),
    "labels/instances/box3d_world": _about("m", _WORLD, "corners in the order of Blender's bound_box"),
    "labels/instances/box3d_camera": _about("m", _OPENCV, "corners in the order of Blender's bound_box"),
    "labels/instances/box3d_pixel": _about("px", about="NaN for corners that are not in front of the camera"),
    "labels/instances/pose": _about("m", _OPENCV, "camera_from_object without scale"),
    "labels/instances/scale": _about(frame=_OBJECT, about="all three negative for mirrored objects"),
    "labels/instances/velocity_world": _about("m/s", _WORLD, "NaN where unknown"),
    "labels/instances/angular_velocity_world": _about("rad/s", _WORLD, "rotation vector; NaN where unknown"),
    "labels/keypoints/xyz_world": _about("m", _WORLD),
    "labels/keypoints/xy": _about("px", about="NaN behind the camera"),
    "labels/keypoints/depth_m": _about("m", about="along the optical axis; negative behind the camera"),
    "labels/keypoints/visibility": _about(about="0 not in the image, 1 hidden, 2 seen"),
}


def describe(dataset: Any, path: str, layout: str) -> None:
    """Write the attributes of a dataset: its layout, and what is known of fields of that name."""
    dataset.attrs["layout"] = layout
    for name, text in _KNOWN.get(path, {}).items():
        dataset.attrs[name] = text
