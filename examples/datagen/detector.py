"""A small detector of one class: a heat map says where the centres of objects are, and each cell how far their sides.

Boxes are at the peaks of a map of centres, as in X. Zhou et al. 2019, "Objects as Points", arXiv 1904.07850. Not only the
peak learns the box, but all cells near it, and not offset and size, but distances to the four sides, by how much the boxes
overlap, as in Z. Liu et al. 2019, "Training-Time-Friendly Network for Real-Time Object Detection", arXiv 1909.00700: that
needs less training.

Boxes are XYXY in continuous pixels, (0, 0) the outer corner of the first pixel. A cell of a map stands for a square of
`STRIDE` x `STRIDE` pixels: maps of H x W pixels have ceil(H / STRIDE) x ceil(W / STRIDE) cells.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

STRIDE = 4
_SPREAD = 0.54 / 6  # standard deviation of an object's heat, of its width and height: Liu et al., section 3
_FARTHEST = 512.0  # pixels to a side
_USUAL = 20.0  # pixels to a side, of a new model
_RARE = -4.6  # the logit of 0.01, of a new model: centres are so rare that the loss would be all background's


@dataclass(frozen=True)
class Targets:
    """What the maps of N pictures ought to be; h x w cells.

    Attributes:
        heat: (N, h, w) float32, 1 in cells with a centre, and less around them.
        sides: (N, 4, h, w) float32, pixels from the cell's centre to the left, upper, right and lower side of the object
            that is hottest there.
        shares: (N, h, w) float32, what a cell counts in learning sides: 1 in all over each object, 0 elsewhere.
        counts: (N, h, w) float32, 1 where heat counts, 0 where objects are that shall be neither learned nor unlearned.
    """

    heat: torch.Tensor
    sides: torch.Tensor
    shares: torch.Tensor
    counts: torch.Tensor


def encode(boxes: list[np.ndarray], hidden: list[np.ndarray], shape: tuple[int, int]) -> Targets:
    """The targets of N pictures.

    Args:
        boxes: For each picture (K, 4) float32, pixels: the objects to find.
        hidden: For each picture (M, 4) float32, pixels: objects that may be found or not.
        shape: H and W of the pictures, pixels.
    """
    each = [_encode(a, b, shape) for a, b in zip(boxes, hidden, strict=True)]
    return Targets(*(torch.from_numpy(np.stack(maps)) for maps in zip(*each, strict=True)))


def _encode(boxes: np.ndarray, hidden: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    rows, columns = (-(-n // STRIDE) for n in shape)
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(columns, dtype=np.float32)
    heat = np.zeros((rows, columns), np.float32)
    sides = np.zeros((4, rows, columns), np.float32)
    shares = np.zeros((rows, columns), np.float32)
    counts = np.ones((rows, columns), np.float32)
    for x0, y0, x1, y1 in hidden / STRIDE:
        counts[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = 0
    owner = np.full((rows, columns), -1)
    for i, (x0, y0, x1, y1) in enumerate(boxes / STRIDE):
        off_x, off_y = x - np.floor((x0 + x1) / 2), y - np.floor((y0 + y1) / 2)
        own = np.exp(-((off_x / (_SPREAD * (x1 - x0))) ** 2 + (off_y / (_SPREAD * (y1 - y0))) ** 2) / 2)
        hotter = (own > heat) & (own > 0.01)
        heat[hotter], owner[hotter] = own[hotter], i
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        is_own = owner == i
        center_x, center_y = np.broadcast_arrays((x + 0.5) * STRIDE, (y + 0.5) * STRIDE)
        sides[:, is_own] = np.stack([center_x - x0, center_y - y0, x1 - center_x, y1 - center_y])[:, is_own]
        shares[is_own] = heat[is_own] / heat[is_own].sum()
    counts[heat == 1] = 1
    return heat, sides, shares, counts


def decode(heat: torch.Tensor, sides: torch.Tensor, most: int = 50) -> list[tuple[np.ndarray, np.ndarray]]:
    """The objects that maps show: cells that are not cooler than the eight around them.

    Args:
        heat: (N, h, w) float32, 0 to 1.
        sides: (N, 4, h, w) float32, pixels, as in `Targets`.
        most: How many objects a picture has at most.

    Returns:
        For each picture boxes, (K, 4) float32 pixels within the maps, and scores, (K,) float32, the best first.
    """
    count, rows, columns = heat.shape
    peaks = heat * (heat == F.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0])
    scores, cells = peaks.reshape(count, -1).topk(min(most, rows * columns))
    x, y = (cells % columns + 0.5) * STRIDE, (cells // columns + 0.5) * STRIDE
    left, up, right, down = sides.reshape(count, 4, -1).gather(2, cells[:, None].expand(-1, 4, -1)).unbind(1)
    width, height = columns * STRIDE, rows * STRIDE
    ends = [
        (x - left).clamp(0, width),
        (y - up).clamp(0, height),
        (x + right).clamp(0, width),
        (y + down).clamp(0, height),
    ]
    boxes = torch.stack(ends, dim=-1)
    return [(box[score > 0].numpy(), score[score > 0].numpy()) for box, score in zip(boxes, scores, strict=True)]


class Detector(nn.Module):
    """Pictures to maps: (N, H, W, 3) uint8 sRGB to heat as logits, (N, h, w), and sides, (N, 4, h, w) pixels.

    Args:
        widths: Channels at strides 4, 8 and 16.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.fine = nn.Sequential(nn.PixelUnshuffle(STRIDE), _convolution(3 * STRIDE**2, fine), _Residual(fine))
        self.middle = nn.Sequential(_convolution(fine, middle, stride=2), _Residual(middle))
        self.coarse = nn.Sequential(_convolution(middle, coarse, stride=2), _Residual(coarse), _Residual(coarse))
        self.coarse_to_middle = _convolution(coarse, middle, size=1)
        self.merge_middle = _convolution(middle, middle)
        self.middle_to_fine = _convolution(middle, fine, size=1)
        self.merge_fine = _convolution(fine, fine)
        self.maps = nn.Conv2d(fine, 5, 1)
        nn.init.constant_(self.maps.bias[:1], _RARE)
        nn.init.constant_(self.maps.bias[1:], np.log(_USUAL))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = images.shape[1:3]
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        fine = self.fine(F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE)))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.merge_middle(middle + _enlarged(self.coarse_to_middle(coarse), middle))
        fine = self.merge_fine(fine + _enlarged(self.middle_to_fine(middle), fine))
        maps = self.maps(fine)
        return maps[:, 0], maps[:, 1:].clamp(max=float(np.log(_FARTHEST))).exp()

    @torch.no_grad()
    def detect(self, images: torch.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes and scores of the objects in pictures, as `decode` gives them."""
        heat, sides = self(images)
        return decode(heat.sigmoid(), sides)


def losses(heat: torch.Tensor, sides: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """How wrong maps are, a number an object: focal loss of heat (Zhou et al., equation 1), 1 - GIoU of sides.

    Args:
        heat: (N, h, w) logits.
        sides: (N, 4, h, w) pixels.
        targets: What they ought to be.
    """
    is_center = targets.heat == 1
    objects = is_center.sum().clamp(min=1)
    p = heat.sigmoid()
    found = (1 - p) ** 2 * F.logsigmoid(heat)
    not_found = (1 - targets.heat) ** 4 * p**2 * F.logsigmoid(-heat) * targets.counts
    heat_loss = -torch.where(is_center, found, not_found).sum() / objects
    side_loss = ((1 - giou(sides, targets.sides)) * targets.shares).sum() / objects
    return heat_loss, side_loss


def giou(sides: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Generalized intersection over union of boxes around a common point.

    H. Rezatofighi et al. 2019, "Generalized Intersection over Union", arXiv 1902.09630.

    Args:
        sides: (N, 4, h, w) distances to the left, upper, right and lower side; they may be negative in sum only.
        other: The same of the other boxes.

    Returns:
        (N, h, w), -1 to 1.
    """

    def area(left_up: torch.Tensor, right_down: torch.Tensor) -> torch.Tensor:
        return (left_up + right_down).clamp(min=0).prod(dim=1)

    a, b, c, d = sides[:, :2], sides[:, 2:], other[:, :2], other[:, 2:]
    both = area(torch.minimum(a, c), torch.minimum(b, d))
    either = area(a, b) + area(c, d) - both
    around = area(torch.maximum(a, c), torch.maximum(b, d))
    return both / either.clamp(min=1e-6) - (around - either) / around.clamp(min=1e-6)


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two convolutions beside the identity (K. He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.second(self.first(x)))


def _enlarged(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, size=like.shape[-2:])
