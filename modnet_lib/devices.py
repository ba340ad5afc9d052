"""Which device to compute on, and what only some of them do."""

import os
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

Device = str | torch.device | None


def choose_device(device: Device = None) -> torch.device:
    """The device that is meant: a GPU if there is one, and the process's own one under a launcher.

    On a GPU, float32 means float32 from then on: with TF32, cuDNN's default, convolutions keep 10 of its 23 bits.
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
    """Bilinear, with antialiasing when it shrinks; (N, C, H, W) in and out.

    GPUs shrink by less than 100 at once, so what is more than 32 takes two steps.
    """
    between = [min(side, 32 * wanted) for side, wanted in zip(x.shape[2:], (height, width), strict=True)]
    if between != [*x.shape[2:]]:
        x = resize(x, *between)
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
