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
        ("03.1", lambda s, n, w, b: b * np.where(s < w, s / w, 0.5 * (1 + np.cos(np.pi * s / n))), "rate of 0"),
        ("03.1", lambda s, n, w, b: b * 0.5 * (1 + np.cos(np.pi * s / n)), "warm-up is missing"),
        ("03.1", lambda s, n, w, b: b, "of shape (8,)"),
        ("03.2", lambda old, new, n, d: d * old + (1 - d) * new, "minimum of decay"),
        ("03.2", lambda old, new, n, d: new + (old - new) * (n + 1) / (n + 11), "take 1 - d"),
        ("03.3", lambda g, limit: np.clip(g, -limit, limit), "turns the gradient"),
        ("03.3", lambda g, limit: g * limit / np.linalg.norm(g, axis=1, keepdims=True), "short gradients stay"),
        ("03.3", lambda g, limit: g * np.minimum(1, limit / np.linalg.norm(g)), "all rows together"),
        ("03.4", (0.3, 0.3), "median"),
        ("04.1", 0.003, "one mean"),
        ("04.2", lambda c, s, p: np.percentile(c.mean(0)[p].mean(1), [2.5, 97.5]), "only the pictures"),
        ("04.2", lambda c, s, p: np.percentile(c.mean(1)[s].mean(1), [2.5, 97.5]), "only the seeds"),
        ("04.2", lambda c, s, p: c[s, p], "IndexError"),
        ("04.3", lambda z: (np.abs(z) > 1.96).sum() / len(z), "counts once"),
        ("04.3", lambda z: (z > 1.96).any(axis=1).mean(), "both directions"),
        ("04.4", lambda a, g, t: ((a - g) ** 2 * (t == 0.5)).mean(), "not by all"),
        ("04.4", lambda a, g, t: np.abs(a - g)[t == 0.5].mean(), "square"),
        ("01.2", lambda f, b, a, g: (a * f + (1 - a) * b) ** g, "gamma of the composite"),
        ("01.2", lambda f, b, a, g: a**g * f + (1 - a**g) * b, "not a colour"),
        ("01.2", lambda f, b, a, g: f, "alpha 0"),
        ("01.2", lambda f, b, a, g: f[0], "shape (2, 2, 3)"),
        ("01.2", lambda f, b, a, g: 1 / 0, "ZeroDivisionError"),
        ("01.2", 5, "a function"),
        ("05.1", (0.3, 0.3, 300_000), "thousands"),
        ("05.2", (0.5, 1), "both directions"),
        ("06.1", 0, "whatever M-Net says"),
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
    assert check_answer("04.1", np.float32(4.001e-4)).right and not check_answer("04.1", 4.1e-4).right


def test_unknown_exercise() -> None:
    with pytest.raises(ValueError, match=r"these do: 00\.1"):
        check_answer("99.9", 1)
