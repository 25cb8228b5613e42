"""The scene folders of a BOP dataset, written image by image."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_FILES = ("scene_camera", "scene_gt", "scene_gt_info", "scene_samples")


@dataclass(frozen=True)
class SceneImage:
    """All that a dataset has of an image; files are their contents.

    Attributes:
        key: Of the sample that it is.
        camera: Entry of scene_camera.json.
        gt: Entries of scene_gt.json, one an instance.
        gt_info: Entries of scene_gt_info.json, as many; None where not all is known that they say.
        rgb: The picture.
        rgb_suffix: ".png" or ".jpg".
        depth: The depth image, a PNG of 16 bits.
        masks: Masks of what is seen of each instance, PNGs of 0 and 255; None where there is no image of ids.
    """

    key: str
    camera: Mapping[str, Any]
    gt: Sequence[Mapping[str, Any]]
    gt_info: Sequence[Mapping[str, Any]] | None
    rgb: bytes | None
    rgb_suffix: str
    depth: bytes | None
    masks: Sequence[bytes] | None


class SceneWriter:
    """Writes the images of a split into scene folders 000000, 000001, ...

    Nothing but the image at hand is kept in memory.

    Args:
        folder: Of the split, such as "dataset/train".
        images_per_scene: A scene has at most so many.

    Attributes:
        images: How many were written.
        scenes: How many folders.
        without_info: How many scenes have no scene_gt_info.json, because some of their images had none.
    """

    def __init__(self, folder: Path, images_per_scene: int) -> None:
        self.images = 0
        self.scenes = 0
        self.without_info = 0
        self._folder = folder
        self._images_per_scene = images_per_scene
        self._scene = Path()
        self._files: dict[str, _JsonLines] = {}
        self._all_have_info = True

    def add(self, image: SceneImage) -> None:
        """Write an image, into a new scene if the last one is full."""
        im_id = self.images % self._images_per_scene
        if im_id == 0:
            self._end_scene()
            self._begin_scene()
        self._files["scene_camera"].write(im_id, image.camera)
        self._files["scene_gt"].write(im_id, image.gt)
        self._files["scene_samples"].write(im_id, image.key)
        if image.gt_info is None:
            self._all_have_info = False
        elif self._all_have_info:
            self._files["scene_gt_info"].write(im_id, image.gt_info)
        if image.rgb is not None:
            self._write_file("rgb", f"{im_id:06}{image.rgb_suffix}", image.rgb)
        if image.depth is not None:
            self._write_file("depth", f"{im_id:06}.png", image.depth)
        for gt_id, mask in enumerate(image.masks or ()):
            self._write_file("mask_visib", f"{im_id:06}_{gt_id:06}.png", mask)
        self.images += 1

    def close(self) -> None:
        """End the last scene."""
        self._end_scene()

    def __enter__(self) -> "SceneWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _begin_scene(self) -> None:
        self._scene = self._folder / f"{self.scenes:06}"
        self._scene.mkdir(parents=True)
        self._files = {name: _JsonLines(self._scene / f"{name}.json") for name in _FILES}
        self._all_have_info = True
        self.scenes += 1

    def _end_scene(self) -> None:
        for file in self._files.values():
            file.close()
        if self._files and not self._all_have_info:
            self._files["scene_gt_info"].path.unlink()
            self.without_info += 1
        self._files = {}

    def _write_file(self, folder: str, name: str, content: bytes) -> None:
        (self._scene / folder).mkdir(exist_ok=True)
        (self._scene / folder / name).write_bytes(content)


class _JsonLines:
    """A JSON object written entry by entry, one a line, as `inout.save_json` of bop_toolkit_lib lays it out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", encoding="utf-8")
        self._separator = "{\n"

    def write(self, im_id: int, value: Any) -> None:
        """Append an entry. A value that is NaN or infinite, which JSON has not, raises ValueError."""
        self._file.write(f'{self._separator}  "{im_id}": {json.dumps(value, allow_nan=False)}')
        self._separator = ",\n"

    def close(self) -> None:
        self._file.write("\n}\n")
        self._file.close()
