"""Right answers pass, known mistakes are told why, and every hidden solution in the notebooks is executed."""

import re

import numpy as np
import pytest

import build
from modnet_lib.notebook.exercises import check_answer, exercises

HIDDEN = re.compile(r"<details>.*?</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def solutions() -> dict[str, str]:
    """Exercise to the code of its hidden solution, from the sources of the notebooks."""
    found = {}
    for source in build.sources():
        text = "\n\n".join(c.source for c in build.read_source(source).cells if c.cell_type == "markdown")
        for hidden in HIDDEN.findall(text):
            for code in CODE.findall(hidden):
                for exercise in re.findall(r'check_answer\("([\d.]+)"', code):
                    assert exercise.startswith(f"{source.stem[:2]}.")
                    found[exercise] = code
    return found


def test_every_exercise_has_a_hidden_solution() -> None:
    assert set(solutions()) == set(exercises())


def is_far(one, other, threshold):
    return abs(one - other) > threshold


@pytest.mark.parametrize("exercise", exercises())
def test_the_hidden_solution_is_right(exercise: str) -> None:
    verdicts = []
    names = {"check_answer": lambda *answer: verdicts.append(check_answer(*answer))}
    exec(solutions()[exercise], names)
    assert [repr(verdict) for verdict in verdicts] == ["right"]


@pytest.mark.parametrize(
    ("exercise", "answer", "why"),
    [
        ("00.1", 0.35, "background"),
        ("00.1", 0.9, "solve it"),
        ("00.1", ..., "dots"),
        ("00.1", "much", "in numbers"),
        ("00.1", float("nan"), "solve it"),
        ("00.3", (16, 18), "rows come first"),
        ("00.3", 18, "shape (2,)"),
        ("02.1", 9, "does not divide"),
        ("03.1", 1e-6, "fifth stage"),
        ("03.2", (0.3, 0.3), "median"),
        ("04.1", 0.003, "one mean"),
        ("04.3", 0.3, "twice"),
        ("01.2", lambda f, b, a, g: (a * f + (1 - a) * b) ** g, "gamma of the composite"),
        ("01.2", lambda f, b, a, g: a**g * f + (1 - a**g) * b, "not a colour"),
        ("01.2", lambda f, b, a, g: f, "alpha 0"),
        ("01.2", lambda f, b, a, g: f[0], "shape (2, 2, 3)"),
        ("01.2", lambda f, b, a, g: 1 / 0, "ZeroDivisionError"),
        ("01.2", 5, "a function"),
        ("05.1", (0.3, 0.3, 300_000), "thousands"),
        ("05.2", (0.5, 1), "both directions"),
        ("05.4", lambda p, t, m: (abs((p - t)[m == 0.5]).sum(), 0.040625), "thousands"),
        ("05.4", lambda p, t, m: (abs(p - t).sum() / 1000, ((p - t) ** 2).mean()), "whole picture"),
        ("05.4", lambda p, t, m: ((p - t)[m == 0.5].sum() / 1000, ((p - t)[m == 0.5] ** 2).mean()), "cancel"),
        ("05.5", lambda p, t: ((p > 0.5) & (t > 0.5)).sum() / ((p > 0.5) | (t > 0.5)).sum(), "cut at 0.5"),
        ("05.5", lambda p, t: (p * t).sum() / (p + t - p * t).sum(), "a product"),
        ("05.5", lambda p, t: 2 * np.minimum(p, t).sum() / (p + t).sum(), "Dice"),
        ("06.1", 0, "whatever M-Net says"),
        ("06.4", lambda f, b, beta: (1 - beta) * f + beta * (1 - b), "weight of F"),
        ("06.4", lambda f, b, beta: beta * f + (1 - beta) * b, "it is 1 - B"),
        ("06.5", lambda x, one, two: x * (two @ (one @ x.mean((1, 2)))).sigmoid()[:, None, None], "ReLU"),
        ("06.5", lambda x, one, two: x * (two @ (one @ x.mean((1, 2))).relu())[:, None, None], "sigmoid is missing"),
        ("06.5", lambda x, one, two: x * (two @ (one @ x.amax((1, 2))).relu()).sigmoid()[:, None, None], "maximum"),
        ("07.2", 52, "two bytes"),
        ("09.1", 0.56, "multiplied by alpha"),
        ("08.1", lambda b, n, a, t: np.where(is_far(n, b, t) & is_far(n, a, t), (a + b) / 2, n), "motion"),
        ("08.1", lambda b, n, a, t: np.where(is_far(b, a, t), n, (a + b) / 2), "hardly differs"),
        ("08.1", lambda b, n, a, t: n, "far from both"),
        ("08.1", lambda b, n, a, t: n[0], "shape (16,)"),
        ("08.1", lambda b, n, a: n, "TypeError"),
    ],
)
def test_a_wrong_answer_is_told_why(exercise, answer, why) -> None:
    verdict = check_answer(exercise, answer)
    assert not verdict.right and why in repr(verdict)


def test_numbers_are_compared_relatively() -> None:
    assert check_answer("03.1", np.float32(1.001e-5)).right and not check_answer("03.1", 1.1e-5).right


def test_unknown_exercise() -> None:
    with pytest.raises(ValueError, match=r"these do: 00\.1"):
        check_answer("99.9", 1)
