"""Training pictures through a worse camera: out of focus, noisy, saved small. Only the picture changes, not the matte.

Without it a network takes noise for texture: with a standard deviation of 25 of 255, ours lost half of its people
(notebook 05, sensitivity).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from modnet_lib.images import jpeg, to_array, to_tensor

GOOD = np.zeros(5, np.float32)  # the settings that change nothing


def camera_settings(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a camera for a picture of `size` pixels a side.

    Returns
    -------
    (5,) float32: blur (sigma, pixels), noise (standard deviation in [0, 1]), its grain (pixels), JPEG quality (0:
    no JPEG), and a seed for the noise.
    """
    blur = 10 ** rng.uniform(-0.5, 0.7) * size / 512 if rng.random() < 0.4 else 0.0
    noise = 10 ** rng.uniform(-2.2, -0.8) if rng.random() < 0.7 else 0.0
    quality = rng.integers(15, 90) if rng.random() < 0.5 else 0
    return np.array([blur, noise, rng.integers(1, 3), quality, rng.integers(2**24)], np.float32)


def through_camera(image: Tensor, settings: Tensor) -> Tensor:
    """Pictures as their cameras give them.

    Parameters
    ----------
    image
        (N, 3, H, W) in [0, 1].
    settings
        (N, 5), see `camera_settings`; rows of zeros leave their picture as it is.

    Returns
    -------
    (N, 3, H, W) in [0, 1] on the same device.
    """
    if not bool(settings.any()):
        return image
    rows = zip(image, settings.tolist(), strict=True)
    return torch.stack([_shoot(picture, *row) if any(row) else picture for picture, row in rows])


def _shoot(picture: Tensor, blur: float, noise: float, grain: float, quality: float, seed: float) -> Tensor:
    if blur:
        picture = gaussian_blur(picture, [2 * int(np.ceil(3 * blur)) + 1] * 2, [blur, blur])
    if noise:
        height, width = picture.shape[-2:]
        generator = torch.Generator(picture.device).manual_seed(int(seed))
        small = [-(-side // int(grain)) for side in (height, width)]
        values = torch.randn(1, 3, *small, generator=generator, device=picture.device)
        # enlarging averages neighbours, which takes away from the deviation
        values = F.interpolate(values, (height, width), mode="bilinear")[0] if grain > 1 else values[0]
        picture = picture + noise * values / values.std()
    picture = picture.clamp(0, 1)
    if quality:
        picture = to_tensor(jpeg(to_array(picture), int(quality)))[0].to(picture.device)
    return picture
