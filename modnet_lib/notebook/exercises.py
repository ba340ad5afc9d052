"""Exercises that check themselves and explain wrong answers."""

import tomllib
from typing import Any, NamedTuple

import numpy as np
import torch

from modnet_lib import paths


class Verdict(NamedTuple):
    """Whether an answer is right, and if not, why."""

    right: bool
    why: str = ""

    def __repr__(self) -> str:
        return "right" if self.right else f"not yet: {self.why}"


def exercises() -> dict[str, dict[str, Any]]:
    """Return the table ``notebooks/exercises.toml``, which explains its entries."""
    return tomllib.loads((paths.NOTEBOOKS / "exercises.toml").read_text(encoding="utf-8"))


def check_answer(exercise: str, answer: Any) -> Verdict:
    """Judge an answer, a number, a tuple or a function, to an exercise such as ``"00.1"``.

    Raises a ValueError if there is no such exercise.
    """
    table = exercises()
    if exercise not in table:
        raise ValueError(f"no exercise {exercise!r} checks itself; these do: {', '.join(table)}")
    entry = table[exercise]
    convert = torch.tensor if entry.get("tensors") else np.array
    arguments = [convert(value) for value in entry.get("arguments", ())]
    if answer is None or answer is ...:
        return Verdict(False, "replace the dots by your answer")
    if arguments and not callable(answer):
        return Verdict(False, f"a function of {len(arguments)} arguments is wanted")
    try:
        given = np.asarray(answer(*arguments) if arguments else answer, dtype=float)
    except Exception as error:  # of the student's own code
        return Verdict(False, f"an answer in numbers is wanted, this fails: {type(error).__name__}: {error}")
    if given.shape != (shape := np.shape(entry["right"])):
        return Verdict(False, f"an answer of shape {shape} is wanted, not {given.shape}")
    for why, value in {"": entry["right"], **entry["mistakes"]}.items():
        if np.shape(value) == shape and np.allclose(given, value, entry.get("tolerance", 0.01), 1e-9):
            return Verdict(not why, why)
    return Verdict(False, entry["otherwise"])
