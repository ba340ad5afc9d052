"""Exercises that check themselves: a wrong answer is told why, a right one nothing more."""

import tomllib
from typing import Any, NamedTuple

import numpy as np

from modnet_lib import paths


class Verdict(NamedTuple):
    """Whether an answer is right, and if not, why."""

    right: bool
    why: str = ""

    def __repr__(self) -> str:
        return "right" if self.right else f"not yet: {self.why}"


class Exercise(NamedTuple):
    """The right answer, wrong ones by what to say to them, and what to say to all others.

    With `arguments` the answer is a function, and the known answers are its results.
    """

    right: Any
    mistakes: dict[str, Any]
    otherwise: str
    tolerance: float = 0.01
    arguments: tuple[Any, ...] = ()


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
    table = exercises()
    if exercise not in table:
        raise ValueError(f"no exercise {exercise!r} checks itself; these do: {', '.join(table)}")
    right, mistakes, otherwise, tolerance, arguments = table[exercise]
    if answer is None or answer is ...:
        return Verdict(False, "replace the dots by your answer")
    if arguments and not callable(answer):
        return Verdict(False, f"a function of {len(arguments)} arguments is wanted")
    try:
        given = np.asarray(answer(*arguments) if arguments else answer, dtype=float)
    except Exception as error:  # of the student's own code
        return Verdict(False, f"an answer in numbers is wanted, this fails: {type(error).__name__}: {error}")
    if given.shape != np.shape(right):
        return Verdict(False, f"an answer of shape {np.shape(right)} is wanted, not {given.shape}")

    def is_given(known: Any) -> bool:
        return np.shape(known) == given.shape and np.allclose(given, known, tolerance, 1e-9)

    if is_given(right):
        return Verdict(True)
    return Verdict(False, next((why for why, wrong in mistakes.items() if is_given(wrong)), otherwise))


def exercises() -> dict[str, Exercise]:
    """Return all exercises in order: those of ``notebooks/exercises.toml``, and those that ask for a function."""
    text = (paths.NOTEBOOKS / "exercises.toml").read_text(encoding="utf-8")
    table = {name: Exercise(**entry) for name, entry in tomllib.loads(text).items()}
    return dict(sorted((table | {"01.2": _gamma(), "08.1": _delay()}).items()))


def _gamma() -> Exercise:
    """I of a triple after gamma, so that Eq. 1 still holds."""
    rng = np.random.default_rng(0)
    (f, b), alpha, gamma = rng.random((2, 5, 4, 3)), rng.random((5, 4, 1)), 2.2
    mistakes = {
        "that is gamma of the composite: with F and B as they were, Eq. 1 no longer gives this image": (
            alpha * f + (1 - alpha) * b
        )
        ** gamma,
        "alpha is a share, not a colour: gamma must leave it alone": alpha**gamma * f
        + (1 - alpha**gamma) * b,
    }
    right = alpha * f**gamma + (1 - alpha) * b**gamma
    otherwise = "at a pixel with alpha 1 the image must be F after gamma, at alpha 0 it must be B after gamma"
    return Exercise(right, mistakes, otherwise, 1e-5, (f, b, alpha, gamma))


def _delay() -> Exercise:
    """The one-frame delay at a pixel."""
    before, now, after = np.random.default_rng(0).integers(0, 11, (3, 500)) / 10
    limit, mean = 0.15, (before + after) / 2
    still, left, back = abs(before - after) <= limit, abs(now - before) > limit, abs(now - after) > limit
    flickers = {
        "right": still & left & back,
        "motion is repaired as well: the neighbours must agree": left & back,
        "a pixel that hardly differs does not flicker: leave it": still,
        "one neighbour is not enough: it must differ from both": still & (left | back),
        "that is the condition as printed: it must differ from the frame after, too": still & left,
    }
    mistakes = {why: np.where(found, mean, now) for why, found in flickers.items()}
    right = mistakes.pop("right")
    mistakes["both neighbours count: average them"] = np.where(still & left & back, before, now)
    otherwise = "flicker is: before and after are close, and now is far from both; it becomes their mean"
    return Exercise(right, mistakes, otherwise, 1e-5, (before, now, after, limit))
