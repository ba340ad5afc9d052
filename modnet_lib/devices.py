"""The device to compute on, and resizing that all of them can do."""

import os
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

Device = str | torch.device | None


def choose_device(device: Device = None) -> torch.device:
    """The given device, or a GPU if there is one; under a launcher, the process's own GPU.

    For a GPU, TF32 is switched off: with it, cuDNN's default, convolutions keep 10 of float32's 23 bits.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if chosen.type == "cuda":
        # after the setting that torch 2.9 offers instead, `torch.export` fails; until 2.14 this one warns
        with warnings.catch_warnings(action="ignore"):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if chosen == torch.device("cuda"):
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % max(torch.cuda.device_count(), 1))
    return chosen


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Resize (N, C, H, W) bilinearly, with antialiasing.

    GPUs cannot shrink by 100 or more at once, so a factor above 32 takes two steps.
    """
    between = [min(side, 32 * wanted) for side, wanted in zip(x.shape[2:], (height, width), strict=True)]
    if between != [*x.shape[2:]]:
        x = resize(x, *between)
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
