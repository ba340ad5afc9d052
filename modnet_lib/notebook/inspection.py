"""What the inspector shows, computed without a widget: parts of pictures, regions, and who is wrong by how much."""

from typing import NamedTuple

import cv2
import numpy as np
import torch

from modnet_lib.data.trimaps import band_size
from modnet_lib.inference.matter import Prediction, resize
from modnet_lib.objectives.supervised import SEMANTIC_SCALE, semantic_target
from modnet_lib.regions import transition_region

LONGEST = 768  # pixels of a side, on which regions are computed


class Answers(NamedTuple):
    """What the three sub-objectives are held against: s (h, w), d and alpha (H, W), float32 in [0, 1]."""

    semantic: np.ndarray
    detail: np.ndarray
    alpha: np.ndarray


class Errors(NamedTuple):
    """How far each sub-objective is off, as a share of the error of an empty answer: 0 is right, 1 is useless."""

    semantic: float
    detail: float
    alpha: float


def crop(picture: np.ndarray, zoom: float, x: float, y: float) -> np.ndarray:
    """Cut the part of a picture that a zoom shows.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3).
    zoom
        The part is 1 / `zoom` of the picture's height and width, at least one pixel.
    x, y
        Where the part lies: 0 at the left or top border, 0.5 centred, 1 at the right or bottom border.
    """
    height, width = picture.shape[:2]
    rows, columns = max(1, round(height / zoom)), max(1, round(width / zoom))
    top, left = round((height - rows) * y), round((width - columns) * x)
    return picture[top : top + rows, left : left + columns]


def region(alpha: np.ndarray, width: int, maybe: float = 0.0) -> np.ndarray:
    """The transition region m_d of a matte, (H, W) bool.

    Parameters
    ----------
    alpha
        (H, W) float32 in [0, 1]. Beyond 768 pixels it is computed on a smaller copy.
    width
        Side of the square in pixels if the person spans 512 of them; see `modnet_lib.data.trimaps.band_size`.
    maybe
        See `modnet_lib.regions.transition_region`.
    """
    scale = min(1.0, LONGEST / max(alpha.shape))
    size = (max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale)))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) if scale < 1 else alpha
    tensor = torch.from_numpy(small)[None, None]
    unknown = transition_region(tensor, band_size(tensor, width), maybe=maybe)[0, 0].numpy()
    if scale < 1:
        unknown = cv2.resize(unknown, alpha.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return unknown > 0.5


def answers_of_truth(alpha: np.ndarray, semantic: np.ndarray) -> Answers:
    """The targets of Eq. 2 to 4: G(alpha) in the shape of `semantic`, and the matte for the other two."""
    rows, columns = semantic.shape
    tensor = torch.from_numpy(alpha)[None, None]
    target = semantic_target(resize(tensor, rows * SEMANTIC_SCALE, columns * SEMANTIC_SCALE))
    return Answers(target[0, 0].numpy(), alpha, alpha)


def sub_objective_errors(prediction: Prediction, right: Answers, transition: np.ndarray) -> Errors:
    """Mean absolute error of each answer on its own ground, divided by that of an answer of zeros.

    s_p counts everywhere, d_p in the transition region (where it was trained), alpha_p everywhere. The division
    makes the three comparable: a person who covers a tenth of the picture is lost at a tenth of the error.

    Parameters
    ----------
    prediction
        What the network says.
    right
        What it should say: targets of the truth, or its own answers for the undisturbed picture.
    transition
        (H, W) bool, m_d.
    """

    def share(given: np.ndarray, wanted: np.ndarray) -> float:
        if not wanted.size:  # no transition region
            return 0.0
        return float(np.abs(given - wanted).mean()) / max(float(wanted.mean()), 1e-3)

    return Errors(
        share(prediction.semantic, right.semantic),
        share(prediction.detail[transition], right.detail[transition]),
        share(prediction.alpha, right.alpha),
    )
