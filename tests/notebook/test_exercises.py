"""Right answers pass, known mistakes are told why, and every hidden solution in the notebooks is executed."""

import re

import numpy as np
import pytest
import torch

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


def row_trimap(alpha, radius, sure=0.9, maybe=0.0, after=None):
    after = radius if after is None else after
    windows = [alpha[max(0, i - radius) : i + after + 1] for i in range(len(alpha))]
    unknown = [window.max() > maybe and window.min() < sure for window in windows]
    return np.where(unknown, 0.5, alpha >= sure)


def conv2d(cells, kernel, rate):
    rate = int(rate)
    return torch.nn.functional.conv2d(cells[None, None], kernel[None, None], padding=rate, dilation=rate)[0, 0]


def is_far(one, other, threshold):
    return abs(one - other) > threshold


def is_flicker(before, now, after, close, different):
    return ~is_far(before, after, close) & is_far(now, before, different) & is_far(now, after, different)


def one_frame(before, now, after, threshold):
    return np.where(is_flicker(before, now, after, threshold, threshold), (before + after) / 2, now)


def mean_square(one, other):
    return (one - other).square().mean()


def soc_step(s, d, alpha, d_before, region, rate, keep=1):
    """By hand: the gradients of Eq. 7 and 8."""
    apart, side = alpha - s, region * (alpha - d).sign()
    moved_d = d + rate * (side + keep * region * (d_before - d).sign())
    return torch.stack([s + rate * apart, moved_d, alpha - rate * (apart + side)])


def fuse(image, alpha, blur, weight, share):
    """Blur fusion as a student might write it: colours divided by `weight`, what Eq. 1 lacks times `share`."""
    person = blur @ (alpha * image) / weight
    behind = blur @ ((1 - alpha) * image) / (1 if np.isscalar(weight) else blur @ (1 - alpha))
    return (person + share * (image - alpha * person - (1 - alpha) * behind)).clip(0, 1)


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
        ("00.2", lambda black, white: (white - black).mean(axis=2), "that is 1 - alpha"),
        ("00.2", lambda black, white: 1 - (white - black).sum(axis=2), "average"),
        ("00.2", lambda black, white: 1 - (white - black), "shape (2, 2)"),
        ("00.2", lambda black, white: black[..., 0], "B = 0 and for B = 1"),
        ("00.3", (16, 18), "rows come first"),
        ("00.3", 18, "shape (2,)"),
        ("02.1", 9, "does not divide"),
        ("02.2", lambda c, k, r: conv2d(c, k.flip(0, 1), r), "flipped"),
        ("02.2", lambda c, k, r: conv2d(c, k, 1), "neighbours"),
        ("02.2", lambda c, k, r: conv2d(c, k.T, r), "exchanged"),
        ("02.2", lambda c, k, r: c, "reads the cell"),
        ("02.3", lambda s, w: torch.einsum("jkhw,jk->jhw", s.flatten(0, 1).unflatten(0, (2, 3)), w), "`cat`"),
        ("02.3", lambda s, w: torch.einsum("kchw,jk->jhw", s, w), "all channels are mixed"),
        ("02.3", lambda s, w: torch.einsum("kjhw,kj->jhw", s, w.reshape(3, 2)), "transpose"),
        ("02.3", lambda s, w: s.mean(dim=0), "averaged"),
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
        ("01.3", lambda a, r: row_trimap(a, r, sure=1), "0.95"),
        ("01.3", lambda a, r: row_trimap(a, r, maybe=0.5), "wisp"),
        ("01.3", lambda a, r: np.where((a > 0) & (a < 0.9), 0.5, a >= 0.9), "have to grow"),
        ("01.3", lambda a, r: row_trimap(a, r // 2), "half of it"),
        ("01.3", lambda a, r: row_trimap(a, r, after=r - 1), "one side"),
        ("01.3", lambda a, r: np.ceil(255 * row_trimap(a, r)), "PNG"),
        ("01.3", lambda a, r: a, "has both"),
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
        ("07.1", lambda c, s, a, d, m: (c - s).square().mean() + (m * (a - d).abs()).mean(), "one half"),
        ("07.1", lambda c, s, a, d, m: mean_square(c, s) / 2 + (m * (a - d).abs()).sum() / m.sum(), "0 / 0"),
        ("07.1", lambda c, s, a, d, m: mean_square(c, s) / 2 + (a - d).abs().mean(), "transition region only"),
        ("07.2", lambda s, d, a, b, m, r: soc_step(s, d, a, b, m, r, keep=0), "Eq. 8 is missing"),
        ("07.2", lambda s, d, a, b, m, r: soc_step(s, d, a, b, m, -r), "uphill"),
        ("07.2", lambda s, d, a, b, m, r: soc_step(s, d, a, b, m**0, r), "outside the region"),
        ("07.2", lambda s, d, a, b, m, r: torch.stack([s, d, a]), "autograd"),
        ("07.3", 52, "two bytes"),
        ("09.1", 0.56, "multiplied by alpha"),
        ("09.2", lambda i, a, m: (m @ (a * i) / (m @ a)).clip(0, 1), "lacks something"),
        ("09.2", lambda i, a, m: fuse(i, a, m, m @ a, 1), "multiply what"),
        ("09.2", lambda i, a, m: fuse(i, a, m, 1, a), "divide"),
        ("09.2", lambda i, a, m: i, "weighted by alpha"),
        ("08.1", lambda b, n, a, c, t: np.where(is_far(n, b, t) & is_far(n, a, t), (a + b) / 2, n), "motion"),
        ("08.1", lambda b, n, a, c, t: np.where(is_far(b, a, c), n, (a + b) / 2), "hardly differs"),
        ("08.1", lambda b, n, a, c, t: np.where(is_flicker(b, n, a, t, c), (a + b) / 2, n), "exchanged"),
        ("08.1", lambda b, n, a, c, t: np.where(is_flicker(b, n, a, c, c), (a + b) / 2, n), "close is used"),
        ("08.1", lambda b, n, a, c, t: n, "far from both"),
        ("08.1", lambda b, n, a, c, t: n[0], "shape (9,)"),
        ("08.1", lambda b, n, a: n, "TypeError"),
        ("08.2", lambda b, f, s, a, t: np.stack([one_frame(b, f, a, t), one_frame(b, s, a, t)]), "both frames"),
        ("08.2", lambda b, f, s, a, t: np.stack([one_frame(b, f, s, t), one_frame(f, s, a, t)]), "with each other"),
        ("08.2", lambda b, f, s, a, t: np.stack([f, s]), "become the mean"),
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
