"""Plots of the notebooks: training curves, costs, and what the losses look at. Their look is that of `figures`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from modnet_lib.notebook.figures import (
    BLACK,
    BLUE,
    ORANGE,
    STYLE,
    WIDTH,
    Picture,
    as_pixels,
    image_row,
    make_figure,
)
from modnet_lib.objectives.supervised import PAPER_WEIGHTS


def training_curves(history: Sequence[Mapping[str, float]], *, smoothing: int | None = None) -> Figure:
    """Draw losses, learning rate and validation over the steps of a run.

    Parameters
    ----------
    history
        What `modnet_lib.training.loop.train` returns (or the lines of ``metrics.jsonl``): ``step``, the loss
        and its terms, ``learning_rate``; keys that begin with ``validation_`` where the run validated.
    smoothing
        Steps in the moving average of the thick lines; a twentieth of the run if ``None``.

    Raises
    ------
    ValueError
        If there are no steps.
    """
    if not history:
        raise ValueError("history is empty: nothing was trained yet")
    steps = np.array([record["step"] for record in history])
    aside = {"step", "learning_rate", "seconds", "gradient_norm"}
    terms = [key for key in history[0] if key not in aside and not key.startswith("validation_")]
    checked = sorted({key for record in history for key in record if key.startswith("validation_")})
    window = smoothing or max(1, len(steps) // 20)
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH, 3.6, layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.7, 1))
        losses = figure.add_subplot(grid[:, 0])
        for key in terms:
            values = np.array([record[key] for record in history])
            (line,) = losses.plot(steps, values, linewidth=0.6, alpha=0.35)
            losses.plot(steps, _smooth(values, window), color=line.get_color(), linewidth=2, label=key)
        title = "training losses" + (f"; thick: mean of {window} steps" if window > 1 else "")
        losses.set(yscale="log", xlabel="step", ylabel="loss", title=title)
        losses.legend(ncols=2)
        rate = figure.add_subplot(grid[0, 1], sharex=losses)
        rate.plot(steps, [record["learning_rate"] for record in history], color=BLACK)
        rate.set(title="learning rate", ylim=(0, None))
        rate.tick_params(labelbottom=False)
        checks = figure.add_subplot(grid[1, 1], sharex=losses)
        for key, marker in zip(checked, "osD^vP" * len(checked), strict=False):
            points = [(record["step"], record[key]) for record in history if key in record]
            name = key.removeprefix("validation_")
            checks.plot(
                *zip(*points, strict=True), marker=marker, markersize=5, label=f"{name}: {points[-1][1]:.3g}"
            )
        checks.set(xlabel="step", ylabel="validation", yscale="log")
        if checked:
            checks.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(3, len(checked)), fontsize=8)
        else:
            checks.set_yscale("linear")
            checks.set(yticks=[])
            checks.text(0.5, 0.5, "not validated", ha="center", va="center", transform=checks.transAxes)
        for axes in (losses, rate, checks):
            axes.grid(axis="y")
            if axes.get_yscale() == "log":  # labels at 1 and 3 of each decade, however few decades there are
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values (fewer at the start)."""
    sums = np.cumsum(np.insert(values.astype(np.float64), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def cost_bars(
    formula: Mapping[str, tuple[float, float]], measured: Mapping[str, tuple[float, float]]
) -> Figure:
    """Draw weights and FLOPs of several modules on a logarithmic axis, by formula and as measured.

    Parameters
    ----------
    formula, measured
        Name of the module to (parameters, FLOPs); the same names in both. The first is the reference of the
        percentages.

    Raises
    ------
    ValueError
        If the names differ.
    """
    names = list(formula)
    if not names or names != list(measured):
        raise ValueError(f"formula and measured must name the same modules, got {names} and {list(measured)}")
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH, 0.9 + 0.62 * len(names), layout="constrained")
        for index, title in enumerate(("weights", "FLOPs of one pass")):
            axes = figure.add_subplot(1, 2, index + 1)
            rows = np.arange(len(names))[::-1]
            kinds = (("closed form", formula, BLUE, 0.17, ""), ("measured", measured, ORANGE, -0.17, "//"))
            for label, costs, colour, offset, hatch in kinds:
                values = [costs[name][index] for name in names]
                axes.barh(
                    rows + offset, values, 0.32, color=colour, label=label, hatch=hatch, edgecolor="white"
                )
                for row, value in zip(rows, values, strict=True):
                    share = "" if row == rows[0] else f"  ({100 * value / values[0]:.2f} %)"
                    axes.text(value * 1.15, row + offset, f"{value:,.0f}{share}", va="center", fontsize=8)
            everything = [cost[name][index] for cost in (formula, measured) for name in names]
            axes.set(xscale="log", xlim=(min(everything) / 4, max(everything) * 60), title=title)
            axes.set_yticks(rows, names if index == 0 else [""] * len(names))
            axes.grid(axis="x")
            axes.set_axisbelow(True)
        figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def efficiency_plot(methods: Mapping[str, Mapping[str, float]], labels: Mapping[str, str]) -> Figure:
    """Fig. 6: size against time, both logarithmic, a labelled dot for each method.

    Parameters
    ----------
    methods
        By method ``parameters``, ``milliseconds`` and ``gflops`` (the area of its dot), as `efficiency` returns them.
    labels
        Of the methods to draw; one whose label starts with MODNet is drawn in another colour.
    """
    with plt.rc_context(STYLE):
        figure = make_figure(WIDTH * 0.75, 3.6, layout="constrained")
        axes = figure.add_subplot()
        for number, (name, label) in enumerate(
            sorted(labels.items(), key=lambda pair: methods[pair[0]]["parameters"])
        ):
            x, y = methods[name]["milliseconds"], methods[name]["parameters"] / 1e6
            colour = ORANGE if label.startswith("MODNet") else BLUE
            axes.scatter(x, y, s=4 * methods[name]["gflops"], color=colour, alpha=0.6, linewidth=0)
            axes.plot(x, y, ".", color=colour, markersize=4)
            # neighbours in size are labelled on different sides
            above = number % 2 == 0
            axes.annotate(
                label,
                (x, y),
                (0, 9 if above else -9),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=8,
            )
        axes.set(xscale="log", yscale="log", xlabel="milliseconds a picture", ylabel="million parameters")
        times = [methods[name]["milliseconds"] for name in labels]
        axes.set_xlim(min(times) / 1.5, max(times) * 1.5)
        axes.margins(y=0.15)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.grid()
        axes.set_axisbelow(True)
    return figure


def loss_map_figure(
    alpha: Picture,
    semantic_target: Picture,
    transition: Picture,
    *,
    weights: tuple[float, float, float] = PAPER_WEIGHTS,
) -> Figure:
    """Show what the three losses look at: alpha_g, G(alpha_g), m_d, and how much an error counts where.

    Parameters
    ----------
    alpha
        alpha_g at full size.
    semantic_target
        G(alpha_g) of Eq. 2.
    transition
        m_d of Eq. 3, the size of `alpha`.
    weights
        lambda_s, lambda_d, lambda_alpha of Eq. 5.
    """
    region = as_pixels(transition)
    names = [
        "matte $\\alpha_g$\ntarget of $\\mathcal{L}_\\alpha$",
        "$G(\\alpha_g)$, 1/16\ntarget of $\\mathcal{L}_s$",
    ]
    names += [f"$m_d$: {100 * region.mean():.1f} % of pixels\nwhere $\\mathcal{{L}}_d$ looks"]
    names += ["weight of an error of $d_p$ and $\\alpha_p$\n$\\lambda_\\alpha + \\lambda_d\\, m_d$"]
    figure = image_row([alpha, semantic_target, region, region], names, height=2.1)
    _, detail, matte = weights
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide + 0.5, high)  # room for the scale
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0 * wide / (wide + 0.5), box.y0, box.width * wide / (wide + 0.5), box.height))
    with plt.rc_context(STYLE):
        last = figure.axes[-1]
        last.images[0].remove()
        shown = last.imshow(matte + detail * region, cmap="viridis", vmin=0, vmax=matte + detail)
        box = last.get_position()
        bar = figure.colorbar(shown, cax=figure.add_axes((box.x1 + 0.008, box.y0, 0.012, box.height)))
        bar.set_ticks([0, matte, matte + detail])
        bar.ax.tick_params(labelsize=8)
    return figure
