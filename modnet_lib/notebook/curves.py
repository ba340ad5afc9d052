"""Training curves."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from modnet_lib.notebook.figures import BLACK, STYLE, WIDTH, make_figure


def training_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses, learning rate and validation over the steps of a run; a `ValueError` if there are none.

    A mapping of `history` is a line of ``metrics.jsonl``: ``step``, ``learning_rate``, the loss and its terms;
    ``validation_...`` where the run validated.
    """
    if not history:
        raise ValueError("history is empty: nothing was trained yet")
    steps, window = [record["step"] for record in history], max(1, len(history) // 20)
    checks = sorted({key for record in history for key in record if key.startswith("validation_")})
    aside = {"step", "learning_rate", "seconds", "gradient_norm", "spread", *checks}
    with plt.rc_context(STYLE | {"axes.grid": True, "axes.grid.axis": "y"}):
        figure = make_figure(WIDTH, 3.6, layout="constrained")
        panels = figure.subplot_mosaic([["losses", "rate"], ["losses", "checks"]], width_ratios=(1.7, 1))
        losses, rate, validation = panels["losses"], panels["rate"], panels["checks"]
        for key in [key for key in history[0] if key not in aside]:
            values = np.array([record[key] for record in history])
            (line,) = losses.plot(steps, values, linewidth=0.6, alpha=0.35)
            means = [values[max(0, end - window) : end].mean() for end in range(1, len(values) + 1)]
            losses.plot(steps, means, color=line.get_color(), linewidth=2, label=key)
        title = f"training losses, mean of {window} steps" if window > 1 else "training losses"
        losses.set(yscale="log", xlabel="step", ylabel="loss", title=title)
        # ticks also where there is less than a decade
        losses.yaxis.set(major_locator=LogLocator(subs=(1, 3)), major_formatter="{x:g}", minor_formatter="")
        losses.legend(ncols=2)
        rate.plot(steps, [record["learning_rate"] for record in history], color=BLACK)
        rate.set(title="learning rate", ylim=(0, None))
        validation.set(xlabel="step", ylabel="validation" if checks else "not validated")
        for key, marker in zip(checks, "osD^vP", strict=False):
            points = [(record["step"], record[key]) for record in history if key in record]
            label = f"{key.removeprefix('validation_')}: {points[-1][1]:.3g}"
            validation.plot(*zip(*points, strict=True), marker=marker, markersize=5, label=label)
            validation.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
