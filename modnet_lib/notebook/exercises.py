"""Exercises that check themselves: a wrong answer is told why, a right one nothing more."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Judge = Callable[[Any], str | None]  # why an answer is wrong, or None


class Verdict(NamedTuple):
    """Whether an answer is right, and if not, why."""

    right: bool
    why: str

    def __repr__(self) -> str:
        return "right" if self.right else f"not yet: {self.why}"


def check_answer(exercise: str, answer: Any) -> Verdict:
    """Judge an answer.

    Parameters
    ----------
    exercise
        Notebook and number, such as ``"00.1"``.
    answer
        What the exercise asks for: a number, a tuple or a function.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    if exercise not in EXERCISES:
        raise ValueError(f"no exercise {exercise!r} checks itself; these do: {', '.join(EXERCISES)}")
    if answer is None or answer is ...:
        return Verdict(False, "put your answer in the place of the dots")
    why = EXERCISES[exercise](answer)
    return Verdict(why is None, why or "")


def numbers(right: Any, mistakes: Mapping[Any, str], otherwise: str, *, tolerance: float = 0.01) -> Judge:
    """Judge a number or a tuple of them, within a relative tolerance; `mistakes` are wrong answers with a reason."""

    def same(answer: Any, known: Any) -> bool:
        wanted = np.asarray(known, dtype=float)
        return answer.shape == wanted.shape and bool(np.allclose(answer, wanted, tolerance, 1e-9))

    def judge(answer: Any) -> str | None:
        try:
            given = np.asarray(answer, dtype=float)
        except (TypeError, ValueError):
            return f"a number or a tuple of numbers is wanted, not {type(answer).__name__}"
        if given.shape != np.shape(right):
            return f"{np.size(right)} numbers are wanted, you gave {given.size}"
        if same(given, right):
            return None
        return next((why for wrong, why in mistakes.items() if same(given, wrong)), otherwise)

    return judge


def _gamma(answer: Any) -> str | None:
    """Exercise 01.2: I of a triple after gamma, so that Eq. 1 still holds."""
    if not callable(answer):
        return "a function of (foreground, background, alpha, gamma) is wanted"
    rng = np.random.default_rng(0)
    foreground, background = rng.random((2, 5, 4, 3))
    alpha, gamma = rng.random((5, 4, 1)), 2.2
    try:
        image = np.asarray(answer(foreground.copy(), background.copy(), alpha, gamma))
    except Exception as error:  # the student's own code
        return f"your function fails: {type(error).__name__}: {error}"
    if image.shape != foreground.shape:
        return f"the image must have the shape of the foreground, {foreground.shape}, not {image.shape}"
    if np.allclose(image, alpha * foreground**gamma + (1 - alpha) * background**gamma):
        return None
    if np.allclose(image, (alpha * foreground + (1 - alpha) * background) ** gamma):
        return "that is gamma of the composite: with F and B as they were, Eq. 1 no longer gives this image"
    if np.allclose(image, alpha**gamma * foreground + (1 - alpha**gamma) * background):
        return "alpha is a share, not a colour: gamma must leave it alone"
    return "at a pixel with alpha 1 the image must be F after gamma, at alpha 0 it must be B after gamma"


def _delay(answer: Any) -> str | None:
    """Exercise 08.1: the one-frame delay at a pixel."""
    if not callable(answer):
        return "a function of (before, now, after, threshold) is wanted"
    before, now, after = np.random.default_rng(0).integers(0, 11, (3, 500)) / 10
    limit = 0.15
    try:
        given = np.asarray(answer(before.copy(), now.copy(), after.copy(), limit))
    except Exception as error:  # the student's own code
        return f"your function fails: {type(error).__name__}: {error}"
    if given.shape != now.shape:
        return f"one value for each pixel is wanted, {now.shape}, not {given.shape}"
    close, left, back = (abs(a - b) > limit for a, b in ((before, after), (now, before), (now, after)))
    close, mean = ~close, (before + after) / 2
    rules = {
        None: (close & left & back, mean),
        "both neighbours count: average them": (close & left & back, before),
        "motion is repaired as well: the neighbours must agree": (left & back, mean),
        "a pixel that hardly differs is no flicker: leave it": (close, mean),
        "one neighbour is not enough: it must differ from both": (close & (left | back), mean),
        "that is the condition as printed: it must differ from the frame after, too": (close & left, mean),
    }
    for why, (found, value) in rules.items():
        if np.allclose(given, np.where(found, value, now)):
            return why
    return "flicker is: before and after are close, and now is far from both; it becomes their mean"


EXERCISES: dict[str, Judge] = {
    "00.1": numbers(
        0.65,
        {0.35: "that is the share of the background, 1 - alpha", 130 / 255: "divide by the hair's colour, not by white",
         200 / 130: "upside down: alpha is at most 1"},
        "write Eq. 1 with B = 0 and solve it for alpha",
    ),
    "00.3": numbers(
        (18, 16),
        {(16, 18): "rows come first", (36, 32): "that is the answer for a short side of 512",
         (288, 256): "that is the network's input; s_p has a sixteenth of it",
         (19, 16): "300 is first rounded down to 288"},
        "bring the short side to 256, round both sides down to multiples of 32, divide by 16",
        tolerance=1e-6,
    ),
    "01.2": _gamma,
    "02.1": numbers(
        10,
        {8: "8 gives 0.51 %, just too much", 9: "9 is small enough but does not divide 1280",
         20: "20 does it, but a smaller one does, too"},
        "the ratio is (0.04 + 1/c) / r; r must divide 1280",
        tolerance=1e-6,
    ),
    "03.1": numbers(
        1e-5,
        {1e-6: "that would be a fifth stage: epoch 40 is the last of the fourth", 1e-2: "that is the first stage",
         1e-4: "there are three divisions by ten before epoch 31, not two"},
        "start at 0.01 and multiply by 0.1 after epochs 10, 20 and 30",
    ),
    "03.2": numbers(
        (0.3, 0.0),
        {(0.3, 0.3): "an absolute error is smallest at the median, not at the mean",
         (0.0, 0.3): "the other way round: L_s is squared, L_alpha absolute",
         (0.3, 1.0): "most pixels are 0, so the median is not 1"},
        "find the constant that minimises a mean squared error, then one for a mean absolute error",
    ),
    "04.1": numbers(
        0.0004,
        {0.003: "that is the standard error of one mean; the comparison is of the same pictures",
         0.004: "that is the deviation of one difference; the mean of 100 is known ten times better",
         0.00424: "the two means are not independent: they are of the same pictures"},
        "divide the deviation of the difference by the root of the number of pictures",
    ),
    "04.3": numbers(
        1 - 0.95**6,
        {0.3: "adding counts twice what happens together", 0.05: "that is one comparison",
         0.95**6: "that is how often none looks clear", 0.05**6: "that is all six at once"},
        "how often does none of six look clear?",
        tolerance=0.02,
    ),
    "05.1": numbers(
        (0.3, 0.3, 300),
        {(0.3, 0.3, 300_000): "SAD is counted in thousands", (0.3, 0.09, 300): "MSE squares each pixel's error of 1, "
         "not the mean", (0.3, 0.3, 0.3): "SAD is a sum: it grows with the picture"},
        "the error is 1 on 30 % of the pixels and 0 elsewhere",
    ),
    "05.2": numbers(
        (0.25, 1),
        {(0.5, 1): "there are fewer pixels in both directions", (0.25, 0.25): "MAD is a mean",
         (1, 1): "SAD is a sum over pixels", (4, 1): "the other way round: it gets smaller"},
        "SAD adds the errors of all pixels, MAD divides by their number",
    ),
    "06.1": numbers(
        0.01,
        {0: "where U_s = 0, alpha = F_s whatever M-Net says", 0.005: "M-Net's answer is multiplied by U_s, which is 0"},
        "put U_s = 0 and F_s = 1 into alpha = F_s + U_s alpha_r",
    ),
    "07.2": numbers(
        50_000 * 512 * 512 * 2 / 1e9,
        {52.4: "half precision takes two bytes a pixel, not four", 78.6: "the details are one channel, not three",
         13.1: "half precision takes two bytes, not one", 0.00052: "that is one frame"},
        "pixels of a frame, times bytes of a pixel, times frames",
        tolerance=0.08,
    ),
    "08.1": _delay,
    "09.1": numbers(
        0.168,
        {-0.168: "the wall is brighter than the hair, so the glow is bright", 0.24: "the mixed colour is weighted by "
         "alpha once more, so (1 - alpha) of it is wrong", 0.56: "I in the place of F is multiplied by alpha",
         0.2: "that is alpha of a half"},
        "alpha (1 - alpha) (B - F)",
    ),
}  # fmt: skip
