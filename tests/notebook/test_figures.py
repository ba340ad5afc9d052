"""The figures say what the arrays and the network say, and no text lies on another."""

import itertools
import re
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from modnet_lib.inference import Matter
from modnet_lib.inference.matter import Prediction
from modnet_lib.network import MODNet
from modnet_lib.network.cost import aspp_parameters, easpp_parameters
from modnet_lib.notebook import figures, plots


@pytest.fixture
def prediction() -> Prediction:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 64, 3), dtype=np.uint8)
    small, detail, alpha = (rng.random(shape, dtype=np.float32) for shape in ((6, 4), (96, 64), (96, 64)))
    return Prediction(image, small, detail, alpha)


def written(figure: Figure) -> list[Text]:
    """The texts that are really drawn (matplotlib keeps labels of ticks outside the axes, but does not draw them)."""
    drawn: dict[int, Text] = {}
    original = Text.draw

    def draw(text: Text, renderer: object) -> None:
        drawn[id(text)] = text
        original(text, renderer)

    figure.canvas = FigureCanvasAgg(figure)
    with mock.patch.object(Text, "draw", draw):
        figure.canvas.draw()
    return [text for text in drawn.values() if text.get_visible() and text.get_text().strip()]


def assert_readable(figure: Figure) -> None:
    """No text overlaps another or leaves the figure, and none is smaller than 7 points."""
    texts = written(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    for (first, a), (second, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 0, f"{first.get_text()!r} lies on {second.get_text()!r} by {overlap} pixels"
    page = figure.bbox
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= 7, text
        inside = box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} leaves the figure"


def test_overlap_check_finds_overlaps():
    figure = figures.make_figure(4, 2)
    figure.text(0.5, 0.5, "one")
    figure.text(0.52, 0.52, "two")
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(figure)


def test_import_leaves_global_style_and_use_style_sets_it():
    with plt.rc_context():
        plt.rcdefaults()
        before = plt.rcParams["axes.spines.top"]
        figures.image_row([np.zeros((4, 4))], ["x"])
        assert plt.rcParams["axes.spines.top"] is before is True
        figures.use_style()
        assert plt.rcParams["axes.spines.top"] is False


def test_figures_do_not_stay_open_in_pyplot(prediction: Prediction):
    figures.show_prediction(prediction)
    assert plt.get_fignums() == []


# -- arrays


@pytest.mark.parametrize(
    "picture",
    [
        np.full((2, 3, 3), 51, np.uint8),
        np.full((2, 3, 3), 0.2),
        torch.full((3, 2, 3), 0.2),
        torch.full((1, 3, 2, 3), 51, dtype=torch.uint8),
        torch.full((3, 2, 3), 0.2, dtype=torch.bfloat16, requires_grad=True),
    ],
)
def test_as_pixels_reads_every_kind(picture):
    pixels = figures.as_pixels(picture)
    assert pixels.shape == (2, 3, 3) and pixels.dtype == np.float32
    np.testing.assert_allclose(
        pixels, 0.2, atol=2e-3 if getattr(picture, "dtype", 0) == torch.bfloat16 else 1e-6
    )


def test_as_pixels_one_channel_and_clipping():
    np.testing.assert_array_equal(figures.as_pixels(torch.tensor([[[-1.0, 0.5, 2.0]]])), [[0, 0.5, 1]])
    assert figures.as_pixels(np.zeros((4, 5, 1))).shape == (4, 5)
    np.testing.assert_array_equal(figures.as_pixels(np.array([[True, False]])), [[1, 0]])


@pytest.mark.parametrize("shape", [(4,), (4, 5, 2), (2, 4, 5, 3), (0, 5)])
def test_as_pixels_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=re.escape(str(shape))):
        figures.as_pixels(np.zeros(shape))


def test_checkerboard_is_equation_1():
    rng = np.random.default_rng(1)
    image, alpha = rng.random((40, 50, 3)), rng.random((40, 50))
    board = figures.checkerboard(np.zeros((40, 50, 3)), np.zeros((40, 50)), square=8) / 255
    composed = figures.checkerboard(image, alpha, square=8) / 255
    expected = alpha[..., None] * image + (1 - alpha[..., None]) * board
    assert np.abs(composed - expected).max() <= 1.01 / 255  # both sides are rounded to 8 bits
    light, dark = board[0, 0, 0], board[0, 8, 0]
    assert light > dark
    for row, column in itertools.product(range(0, 40, 8), range(0, 50, 8)):
        square = board[row : row + 8, column : column + 8]
        assert (square == (dark if (row + column) // 8 % 2 else light)).all()


def test_checkerboard_keeps_opaque_pixels():
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(figures.checkerboard(image, np.ones((20, 20))), image)


def test_over_colour():
    image = np.zeros((1, 3, 3))
    composed = figures.over_colour(image, np.array([[0, 0.5, 1]]), "#FF8000")
    np.testing.assert_array_equal(composed, [[[255, 128, 0], [128, 64, 0], [0, 0, 0]]])
    with pytest.raises(ValueError, match="sizes must agree"):
        figures.over_colour(image, np.zeros((2, 3)), "white")
    with pytest.raises(ValueError, match="nocolour"):
        figures.over_colour(image, np.zeros((1, 3)), "nocolour")


def test_tint_trimap_changes_each_region_as_said():
    image = np.full((1, 4, 3), 0.4)
    tinted = figures.tint_trimap(image, np.array([[0, 128, 255, 255]], np.uint8))
    np.testing.assert_allclose(tinted[0, 2:], 0.4, atol=1e-6)
    np.testing.assert_allclose(tinted[0, 0], 0.12, atol=1e-6)
    red, green, blue = tinted[0, 1]
    assert red > green > blue


# -- rows and plots


def shown(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_error_map_paints_what_is_missing_red_and_what_is_too_much_blue():
    truth, alpha = np.array([[1.0, 0.0, 0.5, 1.0]]), np.array([[0.0, 1.0, 0.5, 0.75]])
    painted = figures.error_map(alpha, (truth * 255).astype(np.uint8))
    np.testing.assert_allclose(painted[0], [[1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 0.75, 0.75]], atol=3e-3)
    with pytest.raises(ValueError, match="sizes"):
        figures.error_map(alpha, truth.T)


def test_image_row_shows_pictures_in_order_on_the_unit_scale():
    pictures = [np.full((20, 30), 0.2), np.full((3, 3, 3), 0.9), torch.full((1, 8, 8), 0.4)]
    figure = figures.image_row(pictures, ["a", "b", "c"], columns=2, caption="look here")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    assert [round(float(values.mean()), 3) for values in shown(figure)] == [0.2, 0.9, 0.4]
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    boxes = [axes.get_position() for axes in figure.axes]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y1
    assert boxes[0].x1 < boxes[1].x0
    assert_readable(figure)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_image_row_stays_on_the_page(count: int):
    figure = figures.image_row([np.zeros((30, 80))] * count, [f"no. {i}" for i in range(count)], height=5)
    assert figure.get_figwidth() <= figures.WIDTH + 1e-9
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(80 / 30, rel=1e-6)


@pytest.mark.parametrize(
    ("images", "titles", "columns"),
    [([], [], None), ([np.zeros((2, 2))], [], None), ([np.zeros((2, 2))], ["a"], 0)],
)
def test_image_row_refuses(images, titles, columns):
    with pytest.raises(ValueError, match=r"title|columns"):
        figures.image_row(images, titles, columns=columns)


def test_show_prediction_shows_the_five_pictures(prediction: Prediction):
    figure = figures.show_prediction(prediction)
    image, semantic, detail, alpha, cutout = shown(figure)
    np.testing.assert_allclose(image, prediction.image / 255, atol=1e-6)
    for values, expected in ((semantic, "semantic"), (detail, "detail"), (alpha, "alpha")):
        np.testing.assert_array_equal(values, getattr(prediction, expected))
    opaque = prediction.alpha > 0.999
    assert opaque.any()
    np.testing.assert_allclose(cutout[opaque], image[opaque], atol=2 / 255)
    assert_readable(figure)


def history(steps: int) -> list[dict[str, float]]:
    records = []
    for step in range(1, steps + 1):
        record = {"semantic": 1 / step, "detail": 2 / step, "matte": 3 / step, "loss": 6 / step, "step": step}
        record |= {"learning_rate": 0.01 / step, "seconds": 0.1, "gradient_norm": 5.0}
        if step % 10 == 0:
            record |= {"validation_mse": 0.1 / step, "validation_mad": 0.3 / step}
        records.append(record)
    return records


def test_training_curves_draw_the_history():
    figure = plots.training_curves(history(40), smoothing=4)
    losses, rate, checks = figure.axes
    lines = {
        line.get_label(): line.get_ydata() for line in losses.lines if not line.get_label().startswith("_")
    }
    assert set(lines) == {"semantic", "detail", "matte", "loss"}
    assert lines["detail"][39] == pytest.approx(np.mean([2 / 37, 2 / 38, 2 / 39, 2 / 40]))
    assert lines["detail"][0] == pytest.approx(2)
    np.testing.assert_allclose(rate.lines[0].get_ydata(), 0.01 / np.arange(1, 41))
    marks = {line.get_label().split(":")[0]: line for line in checks.lines}
    assert set(marks) == {"mse", "mad"}
    np.testing.assert_array_equal(marks["mse"].get_xdata(), [10, 20, 30, 40])
    np.testing.assert_allclose(marks["mad"].get_ydata(), 0.3 / np.array([10, 20, 30, 40]))
    assert_readable(figure)


@pytest.mark.parametrize("steps", [1, 5])
def test_training_curves_of_a_short_run(steps: int):
    figure = plots.training_curves(history(steps))
    assert any("not validated" in text.get_text() for text in figure.axes[2].texts)
    assert_readable(figure)


def test_training_curves_refuse_an_empty_history():
    with pytest.raises(ValueError, match="empty"):
        plots.training_curves([])


def test_cost_bars_are_the_costs():
    formula = {"ASPP": (aspp_parameters(64), 5e9), "e-ASPP": (easpp_parameters(64), 5e7)}
    measured = {"ASPP": (aspp_parameters(64) + 1, 6e9), "e-ASPP": (easpp_parameters(64), 5e7)}
    figure = plots.cost_bars(formula, measured)
    for index, axes in enumerate(figure.axes[:2]):
        closed, real = ([bar.get_width() for bar in container] for container in axes.containers)
        assert closed == [cost[index] for cost in formula.values()]
        assert real == [cost[index] for cost in measured.values()]
        assert axes.get_xscale() == "log"
    assert "(1.00 %)" in figure.axes[1].texts[1].get_text()
    assert_readable(figure)
    with pytest.raises(ValueError, match="same modules"):
        plots.cost_bars(formula, {"ASPP": (1, 1)})


def test_efficiency_plot_labels_every_method_once_and_apart():
    methods = {
        name: {"parameters": size, "milliseconds": time, "gflops": 10.0}
        for name, size, time in (
            ("modnet", 3.4e6, 400),
            ("shm", 2.9e6, 700),
            ("index", 5e6, 1900),
            ("hatt", 3.2e6, 200),
        )
    }
    labels = {"modnet": "MODNet", "shm": "SHM", "index": "IndexNet", "hatt": "HAtt"}
    figure = plots.efficiency_plot(methods, labels)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(texts) == sorted(labels.values())
    dots = {tuple(line.get_xydata()[0]) for line in figure.axes[0].lines}
    assert dots == {(cost["milliseconds"], cost["parameters"] / 1e6) for cost in methods.values()}


def test_loss_map_weighs_the_transition_region():
    region = np.zeros((32, 32))
    region[:8] = 1
    figure = plots.loss_map_figure(np.zeros((32, 32)), np.zeros((2, 2)), region, weights=(1, 10, 1))
    weight = shown(figure)[3]
    assert (weight[:8] == 11).all() and (weight[8:] == 1).all()
    assert "25.0 %" in figure.axes[2].get_title()
    assert_readable(figure)


def test_motion_is_hue_by_direction_and_brightness_by_length():
    motion = np.zeros((2, 4, 2), np.float32)
    motion[0] = [(4, 0), (0, 4), (-4, 0), (0, -4)]  # right, down, left, up
    motion[1, 0] = (2, 0)
    colours = figures.motion_colours(motion).astype(int)
    red, yellow_green, cyan, violet = colours[0]
    assert red.tolist() == [255, 0, 0] and cyan.tolist() == [0, 255, 255]
    assert yellow_green[1] == 255 and yellow_green[2] == 0
    assert violet[2] == 255 and violet[1] == 0
    assert abs(colours[1, 0, 0] - 128) <= 2 and not colours[1, 1:].any()


def test_photographs_are_stored_as_jpeg_and_everything_else_as_png(monkeypatch):
    from io import BytesIO

    from IPython.core.interactiveshell import InteractiveShell
    from PIL import Image

    shell = InteractiveShell()
    monkeypatch.setattr(figures, "get_ipython", lambda: shell)
    with plt.rc_context():
        figures.use_style()
    ramp = np.linspace(0, 1, 96)[None, :, None] * np.array([0.9, 0.7, 0.5]) + np.zeros((96, 1, 1))
    for picture, mime in ((ramp, "image/jpeg"), (ramp[..., 0], "image/png")):
        data, _ = shell.display_formatter.format(figures.image_row([picture], [""]))
        assert {"image/png", "image/jpeg"} & data.keys() == {mime}
    assert Image.open(BytesIO(data["image/png"])).mode == "P"
    data, _ = shell.display_formatter.format(figures.image_row([ramp], [""]))
    stored = np.asarray(Image.open(BytesIO(data["image/jpeg"])), float)
    middle = stored[len(stored) // 2, :, 0]
    steps = np.abs(np.diff(middle[np.flatnonzero(middle < 200)]))
    assert np.median(steps) < 6  # no contour lines


# -- what readers get


def test_prediction_of_a_real_network_can_be_shown(paper_network: MODNet):
    matter = Matter(paper_network, short_side=64, device="cpu")
    assert_readable(figures.show_prediction(matter.predict(np.zeros((70, 90, 3), np.uint8))))


def test_a_figure_describes_itself():
    row = figures.image_row([np.eye(4), np.eye(4)], ["matte $\\alpha_p$", "mask"], caption="Compare the two.")
    assert figures.describe(row) == "Compare the two.; matte alpha_p; mask"
    figure = figures.make_figure(3, 2)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot([1, 2], label="seed 1")
    axes.legend()
    assert figures.describe(figure) == "loss against step, seed 1"
    assert figures.describe(figures.make_figure(1, 1)) == "figure"
