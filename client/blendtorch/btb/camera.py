"""`Camera`: where points of the scene are in the image of a Blender camera."""

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import ArrayLike

from ..errors import ConfigError, SceneError
from ..labels import projection
from ..labels.projection import Origin
from . import compat
from .coordinates import bbox_coordinates, evaluated, object_coordinates

Projected = np.ndarray | tuple[np.ndarray, np.ndarray]


class Camera:
    """A Blender camera together with an image shape.

    Nothing is cached: every property and method asks the context's evaluated dependency graph, which is first brought
    up to date, so animation, parents, constraints and changes a script has just made are seen without
    `view_layer.update()`. Read a property once and keep it when it is needed in a tight loop.

    Supported are perspective and orthographic cameras with every sensor fit, lens shift, pixel aspect and resolution
    percentage. Not considered are render border with crop, overscan, stereo views and lens distortion. The camera's
    scale does not matter, Blender ignores it too.

    Pixel coordinates are continuous, (0, 0) is the outer corner of the upper left pixel; frames and conventions are
    those of `blendtorch.labels.projection`.
    """

    def __init__(self, bpy_camera: bpy.types.Object | None = None, shape: tuple[int, int] | None = None) -> None:
        """Wrap a camera object.

        Args:
            bpy_camera: Object of type CAMERA; default is the camera that is active in the context's scene now. It
                stays this camera when another becomes active later.
            shape: (H, W) of the image, pixels. Default: the scene's render resolution times percentage, read anew
                each time.

        Raises:
            TypeError: `bpy_camera` is not a camera object.
            ConfigError: (a ValueError) The camera is panoramic or custom; a bad shape.
            SceneError: The scene has no active camera.
        """
        if bpy_camera is None:
            bpy_camera = bpy.context.scene.camera
            if bpy_camera is None:
                raise SceneError(
                    f"scene {bpy.context.scene.name!r} has no active camera: set scene.camera, or pass a camera object"
                )
        if not isinstance(bpy_camera, bpy.types.Object) or bpy_camera.type != "CAMERA":
            raise TypeError(f"expected an object of type CAMERA, got {bpy_camera!r}")
        if shape is not None:
            height, width = (int(size) for size in shape)
            if height < 1 or width < 1:
                raise ConfigError(f"shape must be (height, width), both at least 1 pixel, got {shape}")
            shape = (height, width)
        self._bpy_camera = bpy_camera.original
        self._shape = shape
        _check_type(self._bpy_camera)

    @property
    def bpy_camera(self) -> bpy.types.Object:
        """The camera object itself (not its evaluated copy)."""
        return self._bpy_camera

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image, pixels.

        Like Blender, the resolution times percentage is rounded down.
        """
        if self._shape is not None:
            return self._shape
        render = bpy.context.scene.render
        width = render.resolution_x * render.resolution_percentage // 100
        height = render.resolution_y * render.resolution_percentage // 100
        return max(height, 1), max(width, 1)

    @property
    def type(self) -> str:
        """Kind of projection, "PERSP" or "ORTHO"."""
        return _check_type(self._bpy_camera)

    @property
    def clip_range(self) -> tuple[float, float]:
        """Nearest and farthest depth that is drawn, metres."""
        data = self._evaluated().data
        return data.clip_start, data.clip_end

    @property
    def view_matrix(self) -> np.ndarray:
        """camera_from_world, (4, 4) float64, Blender camera axes (+X right, +Y up, looks along -Z)."""
        world_from_camera = np.array(self._evaluated().matrix_world, dtype=np.float64)
        # The renderers ignore the scale of a camera: its axes are made unit vectors.
        lengths = np.linalg.norm(world_from_camera[:3, :3], axis=0)
        if np.any(lengths == 0.0):
            raise SceneError(f"camera {self._bpy_camera.name!r} has scale zero along an axis, so it looks nowhere")
        world_from_camera[:3, :3] /= lengths
        return np.linalg.inv(world_from_camera)

    @property
    def camera_from_world(self) -> np.ndarray:
        """Same as `view_matrix`: (4, 4) float64, Blender camera axes."""
        return self.view_matrix

    @property
    def camera_from_world_opencv(self) -> np.ndarray:
        """camera_from_world for OpenCV camera axes (+X right, +Y down, looks along +Z), (4, 4) float64."""
        return projection.OPENCV_FROM_BLENDER @ self.view_matrix

    @property
    def proj_matrix(self) -> np.ndarray:
        """clip_from_camera, (4, 4) float64 (computed by Blender in float32): OpenGL projection matrix for `shape`."""
        height, width = self.shape
        render = bpy.context.scene.render
        matrix = self._evaluated().calc_matrix_camera(
            compat.evaluated_depsgraph(),
            x=width,
            y=height,
            scale_x=render.pixel_aspect_x,
            scale_y=render.pixel_aspect_y,
        )
        return np.array(matrix, dtype=np.float64)

    @property
    def intrinsics(self) -> np.ndarray:
        """K, (3, 3) float64, pixels, OpenCV camera axes, upper left *corner* is (0, 0).

        x ~ K @ (camera_from_world_opencv @ X)[:3]. For OpenCV's functions subtract 0.5 from K[0, 2] and K[1, 2].

        Raises:
            ConfigError: (a ValueError) The camera is orthographic.
        """
        return projection.intrinsics(self.proj_matrix, self.shape)

    def world_to_ndc(self, xyz_world: ArrayLike, return_depth: bool = False) -> Projected:
        """Project world points to OpenGL NDC.

        Args:
            xyz_world: (..., 3) world, metres.
            return_depth: Also return the depth.

        Returns:
            ndc: (..., 3) float64; inside [-1, 1]^3 is what the image shows. NaN for points in or behind the camera
                plane (depth <= 0), of which there is no picture.
            depth_m: (...) float64, if asked for: metres along the optical axis, positive in front, negative behind.
        """
        ndc, depth_m = projection.world_to_ndc(xyz_world, self.view_matrix, self.proj_matrix)
        return (ndc, depth_m) if return_depth else ndc

    def ndc_to_pixel(self, ndc: ArrayLike, origin: Origin = "upper-left") -> np.ndarray:
        """Map NDC, (..., 2) or (..., 3), to pixel (x, y), (..., 2) float64; see `projection.ndc_to_pixel`."""
        return projection.ndc_to_pixel(ndc, self.shape, origin)

    def world_to_pixel(
        self, xyz_world: ArrayLike, return_depth: bool = False, origin: Origin = "upper-left"
    ) -> Projected:
        """Project world points to pixels.

        Args:
            xyz_world: (..., 3) world, metres.
            return_depth: Also return the depth.
            origin: Corner of the image that is (0, 0), "upper-left" or "lower-left".

        Returns:
            xy: (..., 2) float64 pixels; outside [0, W] x [0, H] for points beside the image, NaN where depth <= 0.
            depth_m: (...) float64, if asked for: metres along the optical axis, positive in front, negative behind.
        """
        ndc, depth_m = projection.world_to_ndc(xyz_world, self.view_matrix, self.proj_matrix)
        xy = self.ndc_to_pixel(ndc, origin)
        return (xy, depth_m) if return_depth else xy

    def object_to_pixel(self, *objs: bpy.types.Object, return_depth: bool = False) -> Projected:
        """Project all vertices of objects, evaluated and with their instances (see `object_coordinates`).

        Returns:
            xy: (N, 2) float64 pixels, upper left corner is (0, 0), NaN where depth <= 0.
            depth_m: (N,) float64, if asked for.
        """
        return self.world_to_pixel(object_coordinates(*objs), return_depth)

    def bbox_object_to_pixel(self, *objs: bpy.types.Object, return_depth: bool = False) -> Projected:
        """Project the 8 corners of the bounding box of each object (see `bbox_coordinates`).

        Returns:
            xy: (8 * K, 2) float64 pixels, upper left corner is (0, 0), NaN where depth <= 0.
            depth_m: (8 * K,) float64, if asked for.
        """
        return self.world_to_pixel(bbox_coordinates(*objs), return_depth)

    def look_at(self, target: ArrayLike, position: ArrayLike | None = None) -> None:
        """Turn the camera towards a world point, its picture's top towards world +Z.

        Sets the camera's world matrix (so a parent is allowed for) with scale 1. Keyframes and constraints
        of the camera, if any, win at the next evaluation. Straight up or down, where +Z says nothing about the top,
        the picture's top is along +Y or -Y.

        Args:
            target: (3,) world, metres: comes to lie on the optical axis.
            position: (3,) world, metres: where the camera goes; default is where it is.

        Raises:
            ConfigError: Target and position coincide.
        """
        if position is None:
            position = np.array(self._evaluated().matrix_world.translation, dtype=np.float64)
        start = projection.as_points(position)
        backward = start - projection.as_points(target)
        distance = np.linalg.norm(backward)
        if not distance > 0.0:
            raise ConfigError(f"camera position {start.tolist()} and target must differ and be finite")
        backward /= distance
        right = np.cross([0.0, 0.0, 1.0], backward)
        if np.linalg.norm(right) < 1e-6:
            right = np.array([1.0, 0.0, 0.0])
        right /= np.linalg.norm(right)
        world_from_camera = np.eye(4)
        world_from_camera[:3, :] = np.stack([right, np.cross(backward, right), backward, start], axis=1)
        # A parent that has just moved must be evaluated, for Blender computes the local transform from it.
        compat.evaluated_depsgraph()
        self._bpy_camera.matrix_world = Matrix(world_from_camera.tolist())

    def _evaluated(self) -> bpy.types.Object:
        try:
            _check_type(self._bpy_camera)
        except ReferenceError:
            raise SceneError("the camera was deleted since this Camera was made: make a new one.") from None
        return evaluated(self._bpy_camera, compat.evaluated_depsgraph())


def as_camera(camera: Camera | None) -> Camera:
    """What a renderer was given as its camera, or that of the scene.

    Raises:
        TypeError: It is something else, such as Blender's own camera object.
        SceneError: There is none, and the scene has none.
    """
    if camera is None:
        return Camera()
    if not isinstance(camera, Camera):
        raise TypeError(f"camera is {camera!r}, expected a btb.Camera: pass btb.Camera(OBJECT, shape=(height, width)).")
    return camera


def _check_type(bpy_camera: bpy.types.Object) -> str:
    kind = bpy_camera.data.type
    if kind not in ("PERSP", "ORTHO"):
        raise ConfigError(
            f"camera {bpy_camera.name!r} is of type {kind}, which no projection matrix describes: set "
            "camera.data.type to 'PERSP' or 'ORTHO'"
        )
    return kind
