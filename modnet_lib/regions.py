"""Where a matte is uncertain: dilation with a square, and the transition region m_d of Eq. 3."""

import torch
import torch.nn.functional as F
from torch import Tensor

SURE = 0.9  # alpha from here on is foreground, as the authors disclosed
BAND = 30 / 512  # side of the square in training, of the mean side of the picture


def dilate(mask: Tensor, size: int) -> Tensor:
    """Grey dilation of (N, C, H, W) with a square of `size` pixels; outside the picture counts as smallest."""
    outside = float("-inf") if mask.is_floating_point() else 0
    before, after = size // 2, size - 1 - size // 2
    for axis, pad in ((-1, (before, after)), (-2, (0, 0, before, after))):
        mask = F.pad(mask, pad, value=outside)
        reach = 1
        while reach < size:  # the maximum over 2 r is the maximum of two maxima over r
            step = min(reach, size - reach)
            length = mask.shape[axis] - step
            mask = torch.maximum(mask.narrow(axis, 0, length), mask.narrow(axis, step, length))
            reach += step
    return mask


def transition_region(alpha: Tensor, size: int | None = None, *, maybe: float = 0.0) -> Tensor:
    """m_d of Eq. 3: dilate(alpha > 0) - erode(alpha >= 0.9), on its device, all pictures at once.

    Parameters
    ----------
    alpha
        (N, 1, H, W) in [0, 1].
    size
        Side of the square in pixels; if ``None`` the one of training, 30 at 512.
    maybe
        From here on a pixel may be the person. A predicted matte is never 0, so Eq. 7 needs more than 0.

    Returns
    -------
    (N, 1, H, W) of {0, 1}, without gradient; all 0 where nobody is, or nothing but a person.

    Raises
    ------
    ValueError
        If `size` is smaller than one pixel.
    """
    alpha = alpha.detach()
    size = max(3, round(BAND * (alpha.shape[2] + alpha.shape[3]) / 2)) if size is None else size
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    person = alpha >= maybe if maybe else alpha > 0
    # bytes are fast, and eroding what is sure is dilating what is not
    grown, unsure = dilate(torch.cat((person, alpha < SURE), dim=1).byte(), size).chunk(2, dim=1)
    return (grown * unsure).to(alpha.dtype)
