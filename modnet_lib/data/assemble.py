"""From crops to training batches, on the device: colour, Eq. 1, trimap, and simulated cameras.

A network trained without noise takes it for texture: at a standard deviation of 25 of 255, ours lost half of the people
(notebook 05, sensitivity). A camera changes the image, not the matte.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from modnet_lib.data.compositing import apply_colour, chain, composite, harmony
from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.images import jpeg, to_array, to_tensor

GOOD = np.zeros(5, np.float32)  # the camera that changes nothing


class MattingBatch(NamedTuple):
    """What the objectives need, float32 on one device."""

    image: Tensor  # (N, 3, H, W) in [0, 1], I of Eq. 1
    true_alpha: Tensor  # (N, 1, H, W) in [0, 1]
    trimap: Tensor  # (N, 1, H, W) of {0, 0.5, 1}
    foreground: Tensor  # (N, 3, H, W) in [0, 1]
    background: Tensor  # (N, 3, H, W) in [0, 1]


class RawBatch(NamedTuple):
    """Crops of one size, and the numbers that `assemble` needs; all on the CPU. A single sample has no N."""

    image: Tensor  # (K, H, W, 3) uint8, the natural crops only; K is 0 or 1 for a sample
    cutout: Tensor  # (N, H, W, 4) uint8: F and alpha
    background: Tensor  # (N, H, W, 3) uint8
    natural: Tensor  # (N,) bool, true K times
    colours: Tensor  # (N, 2, 3, 4): colour maps of F and of B
    harmony: Tensor  # (N,) in [0, 1], the strength of `harmony`
    camera: Tensor  # (N, 5), see `camera_settings`
    band: Tensor  # (N,) side of the trimap's square, pixels


def collate(samples: Sequence[tuple]) -> RawBatch:
    """Stack samples of one size."""
    image, cutout, background, *numbers = zip(*samples, strict=True)
    numbers = (torch.from_numpy(np.stack(column)) for column in numbers)
    return RawBatch(torch.cat(image), torch.stack(cutout), torch.stack(background), *numbers)


def assemble(raw: RawBatch, device: torch.device | str = "cpu") -> MattingBatch:
    """Apply colour maps, Eq. 1, trimaps and cameras to a batch, on the device."""
    image, cutout, background, _, colours, move, *_ = (part.to(device, non_blocking=True) for part in raw)
    foreground, alpha, background, image = (
        part.permute(0, 3, 1, 2).contiguous().float().div_(255)
        for part in (cutout[..., :3], cutout[..., 3:], background, image)
    )
    maps = colours[:, 0]
    if bool((raw.harmony > 0).any()):
        maps = chain(maps, harmony(foreground, background, alpha, move))
    foreground, background = apply_colour(foreground, maps), apply_colour(background, colours[:, 1])
    composed = composite(foreground, background, alpha)
    if len(image):
        where = raw.natural.nonzero()[:, 0].to(device, non_blocking=True)
        composed[where] = apply_colour(image, maps[where])
    trimap = trimap_from_alpha(alpha, raw.band.tolist())
    return MattingBatch(through_camera(composed, raw.camera), alpha, trimap, foreground, background)


def camera_settings(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a camera for a picture of `size` pixels a side, (5,) float32.

    It has blur (sigma, pixels), noise (standard deviation in [0, 1]), its grain (pixels), JPEG quality (0: none), and
    a seed for the noise.
    """
    blur = 10 ** rng.uniform(-0.5, 0.7) * size / 512 if rng.random() < 0.4 else 0.0
    noise = 10 ** rng.uniform(-2.2, -0.8) if rng.random() < 0.7 else 0.0
    quality = rng.integers(15, 90) if rng.random() < 0.5 else 0
    return np.array([blur, noise, rng.integers(1, 3), quality, rng.integers(2**24)], np.float32)


def through_camera(image: Tensor, settings: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] as taken by their cameras, (N, 5) of `camera_settings`."""
    if not bool(settings.any()):
        return image
    rows = settings.tolist()
    shots = [_shoot(*pair) for pair in zip(image, rows, strict=True)]
    qualities = {number: int(row[3]) for number, row in enumerate(rows) if row[3]}
    if qualities:  # all pictures leave the device at once
        arrays = np.split(to_array(torch.cat([shots[number] for number in qualities], dim=1)), len(qualities))
        for (number, quality), array in zip(qualities.items(), arrays, strict=True):
            shots[number] = to_tensor(jpeg(array, quality))[0].to(image.device, non_blocking=True)
    return torch.stack(shots)


def _shoot(picture: Tensor, settings: Sequence[float]) -> Tensor:
    """Blur and noise of a camera."""
    blur, noise, grain, _, seed = settings
    if blur:
        picture = gaussian_blur(picture, [2 * int(np.ceil(3 * blur)) + 1] * 2, [blur, blur])
    if noise:
        height, width = picture.shape[-2:]
        generator = torch.Generator(picture.device).manual_seed(int(seed))
        small = [-(-side // int(grain)) for side in (height, width)]
        values = torch.randn(1, 3, *small, generator=generator, device=picture.device)
        # enlarging averages neighbours and lowers the deviation
        values = F.interpolate(values, (height, width), mode="bilinear")[0] if grain > 1 else values[0]
        picture = picture + noise * values / values.std()
    return picture.clamp(0, 1)
