"""What the detector of examples/datagen is taught and says, and the average precision that it is judged by."""

import contextlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch

DATAGEN = Path(__file__).parents[2] / "examples" / "datagen"
NONE = np.zeros((0, 4), np.float32)


def example(name):
    spec = importlib.util.spec_from_file_location(name, DATAGEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


detector = example("detector")
average_precision = example("average_precision")


def random_boxes(rng, count, shape=(240, 320)):
    """Boxes within a picture whose centres are two cells apart at least, so that none hides another's peak."""
    boxes = []
    while len(boxes) < count:
        low = rng.uniform(0, (shape[1] - 20, shape[0] - 20))
        high = np.minimum(low + rng.uniform(15, 90, 2), (shape[1], shape[0]))
        box = np.concatenate([low, high])
        centers = [np.floor((b[:2] + b[2:]) / 2 / detector.STRIDE) for b in [*boxes, box]]
        if all(np.abs(centers[-1] - other).max() > 2 for other in centers[:-1]):
            boxes.append(box)
    return np.array(boxes, np.float32).reshape(-1, 4)


def test_perfect_maps_decode_to_their_boxes():
    rng = np.random.default_rng(0)
    boxes = [random_boxes(rng, count) for count in (0, 1, 5, 12)]
    targets = detector.encode(boxes, [NONE] * 4, (240, 320))
    # Off the peaks what is hot is background's: let it be a little cooler, as a detector has it.
    heat = torch.where(targets.heat == 1, targets.heat, 0.3 * targets.heat)
    for wanted, (found, scores) in zip(boxes, detector.decode(heat, targets.sides), strict=True):
        is_sure = scores > 0.5
        assert is_sure.sum() == len(wanted)
        found = found[is_sure]
        np.testing.assert_allclose(found[np.lexsort(found.T)], wanted[np.lexsort(wanted.T)], atol=1e-3)
    assert (targets.shares.sum(dim=(1, 2)) - torch.tensor([0, 1, 5, 12])).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(240, 320), (121, 90)])
def test_maps_have_the_shape_of_their_targets_and_losses_lead_there(shape):
    torch.manual_seed(0)
    boxes = [np.array([[10, 20, 50, 61], [48, 60, 88, 90]], np.float32), NONE]
    targets = detector.encode(boxes, [NONE, NONE], shape)
    images = torch.randint(0, 256, (2, *shape, 3), dtype=torch.uint8)
    heat, sides = detector.Detector((8, 8, 8))(images)
    assert (heat.shape, sides.shape) == (targets.heat.shape, targets.sides.shape)
    untaught = detector.losses(heat, sides, targets)
    certain = torch.where(targets.heat == 1, 12.0, -12.0)
    taught = detector.losses(certain, targets.sides.clamp(min=0.1), targets)
    assert all(loss.item() < 0.01 for loss in taught)
    assert all(loss.item() > 0.1 for loss in untaught)
    sum(untaught).backward()


def test_a_hidden_object_is_neither_learned_nor_unlearned():
    clear, hidden = np.array([[100, 100, 140, 150]], np.float32), np.array([[200, 60, 260, 100]], np.float32)
    targets = detector.encode([clear], [hidden], (240, 320))
    heat = torch.full_like(targets.heat, -12.0)
    heat[targets.heat == 1] = 12.0
    nowhere, _ = detector.losses(heat, targets.sides, targets)
    heat[:, 20, 57] = 8.0  # in the hidden one
    there, _ = detector.losses(heat, targets.sides, targets)
    assert there == nowhere
    heat[:, 20, 30] = 8.0  # where there is nothing
    elsewhere, _ = detector.losses(heat, targets.sides, targets)
    assert elsewhere > nowhere + 1


def test_giou():
    """Boxes 4 x 4 around a point, one 4 to the right: they share an edge, and lie in 8 x 4."""
    box = torch.tensor([2.0, 2, 2, 2]).reshape(1, 4, 1, 1)
    to_the_right = torch.tensor([-2.0, 2, 6, 2]).reshape(1, 4, 1, 1)
    farther = torch.tensor([-6.0, 2, 10, 2]).reshape(1, 4, 1, 1)
    assert float(detector.giou(box, box)) == pytest.approx(1)
    assert float(detector.giou(box, to_the_right)) == pytest.approx(0, abs=1e-6)
    assert float(detector.giou(box, farther)) == pytest.approx(-4 * 4 / (12 * 4))


def random_scene(rng):
    boxes, hidden = random_boxes(rng, rng.integers(0, 8)), random_boxes(rng, rng.integers(0, 3))
    near = np.concatenate([boxes, boxes, hidden]) + rng.normal(0, 5, (2 * len(boxes) + len(hidden), 4))
    found = np.concatenate([near[rng.random(len(near)) < 0.8], random_boxes(rng, 2)])
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    return average_precision.Scene(boxes, hidden, found, rng.random(len(found)))


def coco(scenes):
    """The same by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(box):
        return [*map(float, box[:2]), *map(float, box[2:] - box[:2])]

    annotations = [
        {"image_id": i, "category_id": 1, "bbox": xywh(b), "area": np.prod(xywh(b)[2:]), "iscrowd": int(crowd)}
        for i, scene in enumerate(scenes)
        for crowd, boxes in enumerate((scene.boxes, scene.hidden))
        for b in boxes.astype(float)
    ]
    detections = [
        {"image_id": i, "category_id": 1, "bbox": xywh(b), "score": float(score)}
        for i, scene in enumerate(scenes)
        for b, score in zip(scene.found.astype(float), scene.scores, strict=True)
    ]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(len(scenes))],
        "categories": [{"id": 1}],
        "annotations": [{**a, "id": i + 1} for i, a in enumerate(annotations)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(detections), "bbox")
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, 0, 0, 2].mean(axis=1)  # thresholds x recalls x classes x areas x most


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_pycocotools(seed):
    pytest.importorskip("pycocotools", reason="pip install blendtorch[export]")
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(15)]
    ours = average_precision.average_precision(scenes)
    assert 0.1 < ours.mean() < 0.9
    np.testing.assert_allclose(ours, coco(scenes), atol=1e-9)


def test_average_precision_of_all_and_of_nothing():
    boxes = random_boxes(np.random.default_rng(0), 5)
    perfect = average_precision.Scene(boxes, NONE, boxes, np.ones(5))
    blind = average_precision.Scene(boxes, NONE, NONE, np.ones(0))
    assert (average_precision.average_precision([perfect]) == 1).all()
    assert (average_precision.average_precision([blind]) == 0).all()
    half = average_precision.average_precision([perfect, blind])
    np.testing.assert_allclose(half, 51 / 101)  # of the 101 recalls those up to a half
