"""`LabelRenderer`: exact ids, depth, normals, flow and classes of what the viewport shows, in milliseconds."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError, SceneError
from ..labels.camera import camera_labels, project
from ..labels.flow import occlusion
from ..labels.instances import instance_labels
from ..labels.keypoints import OUTSIDE, keypoint_visibility
from .camera import Camera, as_camera
from .gpu_context import ensure_gpu_context
from .keypoints import Keypoint, check_keypoints, is_shown, keypoint_positions
from .label_classes import Classes, ClassFinder
from .label_flow import FlowPass
from .label_holes import HoleFinder
from .label_pass import LabelPass
from .label_scene import Instances, SceneReader, Snapshot, View
from .silhouettes import SilhouettePass

LabelOutput = Literal["ids", "depth", "normals_world", "normals_camera", "flow", "semantic"]

LABEL_OUTPUTS = ("ids", "depth", "normals_world", "normals_camera", "flow", "semantic")


class LabelRenderer:
    """Draws what `OffScreenRenderer` draws, from the same camera, as labels: exact, in memory, without a display.

    Nothing is antialiased or colour managed: each pixel tells of the surface that is nearest at its centre. There
    are meshes with all modifiers, curves, texts, surfaces and metaballs as the meshes that Blender makes of them, and
    instances of collections, geometry nodes, particles, vertices and faces. As in the viewport, what is hidden there
    (eye icon, Disable in Viewports, local view) is not there, nor is what is displayed as wire or bounds. It reads
    the scene and the viewport and changes nothing in either.

    Not drawn are hair, hair curves, point clouds, volumes and grease pencil, which are no surfaces; and what only the
    picture's shading does: X-ray, In Front, backface culling, displacement of materials.

    Args:
        camera: Where to look from, and the size; by default the scene's active camera. Use that of the picture.
        outputs: What `render` returns:

            * "ids": H x W uint32, the instance, 0 for background; `instances` tells what the ids stand for.
            * "depth": H x W float32, metres along the optical axis, background inf.
            * "normals_world", "normals_camera": H x W x 3 float32 unit vectors in world axes or in Blender's camera
              axes (+X right, +Y up, +Z towards the viewer), on the side that is seen, smooth where the
              shading is; background 0.
            * "semantic": H x W uint32, class ids, 0 for background and what has no class.
            * "flow": four arrays that relate this picture and that of the call before, whatever moved in between,
              objects (with the deformation of meshes), camera or both. "flow_backward", H x W x 2 float32 pixels
              (dx, dy), y down: what is at the centre of a pixel of this picture was at that plus flow in the one before.
              "flow_forward": the same for pixels of the picture *before*: where they are in this one.
              "occluded_backward" and "occluded_forward", H x W bool: what that pixel shows is hidden or out of the
              image in the other picture, or it is not known where it was. Flow is NaN where it is not known: for the
              background, in the first picture and the first after `reset`, for what was not there, and for meshes that
              have other corners now.

        classes: Where class ids come from: the name of a custom property of objects that holds an integer; or a
            dict of class ids by objects and by collections or their names, which counts for the objects in them and in
            collections inside; the first that is about an object counts. For an instance first the object that is
            shown is asked, then what shows it. They are known by their names, which must stay.
        alpha_threshold: Whether transparent materials make holes. None: they make none, as in Solid pictures. A
            number, say 0.5, suits Material and Rendered pictures: there is no surface where the Alpha of the Principled
            BSDF is below it, be it a number or an Image Texture (its Alpha or Color) on a UV map. What other
            nodes do cannot be followed: such a material counts as opaque, and a warning names it.
        hidden_in_renders: Whether objects with Disable in Renders or without Ray Visibility > Camera, which the viewport
            shows, are there. False suits the pictures of `FrameRenderer`. What is not shown in the viewport is not there
            either way.

    Raises:
        ConfigError: An output is unknown, or there is none; `classes` or `alpha_threshold` are not as above.
        SceneError: The scene has no camera.
    """

    def __init__(
        self,
        camera: Camera | None = None,
        outputs: Sequence[LabelOutput] = ("ids", "depth"),
        *,
        classes: Classes = "class_id",
        alpha_threshold: float | None = None,
        hidden_in_renders: bool = True,
    ) -> None:
        self._outputs = _check_outputs(outputs)
        if alpha_threshold is not None and not 0 < alpha_threshold <= 1:
            raise ConfigError(f"alpha_threshold is {alpha_threshold}, expected None or a number above 0, at most 1.")
        self.camera = as_camera(camera)
        self._threshold = alpha_threshold
        holes = None if alpha_threshold is None else HoleFinder(alpha_threshold)
        normals = frozenset(self._outputs) & {"normals_world", "normals_camera"}
        self._reader = SceneReader(bool(normals), ClassFinder(classes), holes, hidden_in_renders)
        ensure_gpu_context()
        self._pass = LabelPass(normals)
        self._flow = FlowPass()
        self._silhouettes = SilhouettePass()
        self._snapshot: Snapshot | None = None
        self._arrays: dict[str, np.ndarray] = {}
        self._before: Snapshot | None = None

    @property
    def outputs(self) -> tuple[LabelOutput, ...]:
        """What `render` returns."""
        return self._outputs

    @property
    def instances(self) -> Instances:
        """What the ids of the last picture stand for.

        Raises:
            SceneError: Nothing was rendered yet.
        """
        return self._last()[0].instances

    def reset(self) -> None:
        """Forgets the pictures before: the next one has no flow and no velocities. To be called when an episode begins."""
        self._snapshot = None
        self._before = None

    def render(self) -> dict[str, np.ndarray]:
        """Draws the labels of the scene as it is now.

        Returns:
            For each output an array of that name, "flow" four; rows begin at the top, as `OffScreenRenderer`'s
            "upper-left". They are new and the caller's own. Pass them on: `channel.publish(image=..., **labels.render())`.

        Raises:
            ConfigError: The image is larger than the GPU can draw.
            SceneError: The camera was deleted, or is not in the context's scene; a class is not an integer; an object
                or collection of `classes` is not there.
        """
        view = View(self.camera.shape, self.camera.camera_from_world, self.camera.proj_matrix)
        before, arrays_before = self._snapshot, self._arrays
        snapshot = self._reader.read(view)
        arrays = self._pass.draw(snapshot, self._threshold)
        outputs: dict[str, np.ndarray] = {name: arrays[name] for name in self._outputs if name in arrays}
        if "semantic" in self._outputs:
            outputs["semantic"] = _look_up(snapshot.instances, arrays["ids"])
        if "flow" in self._outputs:
            outputs |= self._flows(snapshot, arrays, before, arrays_before)
        self._snapshot, self._before = snapshot, before
        # What is kept is not what the caller gets, who may write into it.
        self._arrays = {name: arrays[name].copy() if name in outputs else arrays[name] for name in ("ids", "depth")}
        return outputs

    def annotate(self, keypoints: Sequence[Keypoint] = (), *, amodal: bool = True) -> dict[str, Any]:
        """Labels of the last picture, of the schema in docs/labels.md.

        To be called before the scene changes: keypoints are looked up in the scene as it is.

        Args:
            keypoints: Points to look up.
            amodal: Whether to draw the whole silhouette of each instance, for its amodal box, visible fraction and
                truncation. A silhouette counts up to a frame's width and height beyond the frame.

        Returns:
            A dict of plain values and arrays, for `channel.publish(..., labels=...)`. Velocities are NaN unless the picture
            before, since the last `reset`, was of an earlier frame.

        Raises:
            SceneError: Nothing was rendered yet; a keypoint cannot be found.
            ConfigError: `keypoints` is no list of keypoints with names of their own.
        """
        check_keypoints(keypoints)
        snapshot, arrays = self._last()
        instances, view = snapshot.instances, snapshot.view
        camera = camera_labels(view.shape, view.camera_from_world, view.clip_from_camera)
        before, interval_s = np.full((len(snapshot.keys), 4, 4), np.nan), 1.0  # not known
        if self._before is not None and snapshot.time_s > self._before.time_s:
            before, interval_s = self._before.matrices_of(snapshot.keys), snapshot.time_s - self._before.time_s
        table = instance_labels(
            arrays["ids"],
            instances.ids,
            instances.objects,
            instances.instancers,
            instances.class_ids,
            instances.world_from_object,
            instances.bounds,
            camera,
            world_from_object_before=before,
            interval_s=interval_s,
        )
        if amodal:
            table |= self._silhouettes.measure(snapshot, self._threshold).labels(table["pixels"], table["box"])
        labels = {"camera": camera, "instances": table}
        if keypoints:
            labels["keypoints"] = self._keypoint_labels(keypoints, camera)
        return labels

    def _keypoint_labels(self, keypoints: Sequence[Keypoint], camera: dict[str, Any]) -> dict[str, Any]:
        snapshot, arrays = self._last()
        xyz_world = keypoint_positions(keypoints)
        xy, depth_m = project(xyz_world, camera)
        owners = ["" if keypoint.owner is None else keypoint.owner.name_full for keypoint in keypoints]
        owner_ids = np.array([snapshot.id_of_object(keypoint.owner) for keypoint in keypoints], np.uint32)
        visibility = keypoint_visibility(xy, depth_m, arrays["depth"], ids=arrays["ids"], owner_ids=owner_ids)
        visibility[[not is_shown(keypoint) for keypoint in keypoints]] = OUTSIDE
        return {
            "name": [keypoint.name for keypoint in keypoints],
            "object": [keypoint.object.name_full for keypoint in keypoints],
            "owner": owners,
            "xyz_world": xyz_world,
            "xy": xy,
            "depth_m": depth_m,
            "visibility": visibility,
        }

    def _flows(
        self,
        now: Snapshot,
        arrays: dict[str, np.ndarray],
        before: Snapshot | None,
        arrays_before: dict[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        if before is None or before.view.shape != now.view.shape:
            flow = np.full((*now.view.shape, 2), np.nan, np.float32)
            occluded = np.ones(now.view.shape, bool)
            return {
                "flow_backward": flow,
                "occluded_backward": occluded,
                "flow_forward": flow.copy(),
                "occluded_forward": occluded.copy(),
            }
        ids, ids_before = arrays["ids"], before.as_ids_of(now, arrays_before["ids"])
        backward, depth_before = self._flow.draw(now, before, self._threshold)
        forward, depth_now = self._flow.draw(before, now, self._threshold)
        return {
            "flow_backward": backward,
            "occluded_backward": occlusion(backward, depth_before, ids, arrays_before["depth"], ids_before),
            "flow_forward": forward,
            "occluded_forward": occlusion(forward, depth_now, ids_before, arrays["depth"], ids),
        }

    def _last(self) -> tuple[Snapshot, dict[str, np.ndarray]]:
        if self._snapshot is None:
            raise SceneError("nothing was rendered yet, or not since reset(): call render() first.")
        return self._snapshot, self._arrays


def _look_up(instances: Instances, ids: np.ndarray) -> np.ndarray:
    """Class ids of an image of ids, H x W uint32."""
    table = np.zeros(int(instances.ids[-1]) + 1 if len(instances.ids) else 1, np.uint32)
    table[instances.ids] = instances.class_ids
    return table[ids]


def _check_outputs(outputs: Sequence[LabelOutput]) -> tuple[LabelOutput, ...]:
    if isinstance(outputs, str):
        raise ConfigError(f"outputs is the text {outputs!r}, expected a list of names: [{outputs!r}].")
    unknown = [name for name in outputs if name not in LABEL_OUTPUTS]
    if unknown or not outputs:
        seen = f"outputs has {', '.join(map(repr, unknown))}" if unknown else "outputs is empty"
        raise ConfigError(
            f"{seen}, expected some of {', '.join(map(repr, LABEL_OUTPUTS))}. What only a final render gives (AOVs, "
            "material ids) comes from btb.FrameRenderer."
        )
    return tuple(dict.fromkeys(outputs))
