"""The figures show what the arrays say, and say in words what they show."""

import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from PIL import Image

from modnet_lib.notebook import figures


def test_import_leaves_global_style_and_use_style_sets_it():
    with plt.rc_context():
        plt.rcdefaults()
        before = plt.rcParams["axes.spines.top"]
        figures.image_row([np.zeros((4, 4))], ["x"])
        assert plt.rcParams["axes.spines.top"] is before is True
        figures.use_style()
        assert plt.rcParams["axes.spines.top"] is False


def test_figures_do_not_stay_open_in_pyplot():
    figures.image_row([np.zeros((4, 4))], ["x"])
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
    np.testing.assert_allclose(pixels, 0.2, atol=2e-3 if getattr(picture, "dtype", 0) == torch.bfloat16 else 1e-6)


def test_as_pixels_one_channel_and_clipping():
    np.testing.assert_array_equal(figures.as_pixels(torch.tensor([[[-1.0, 0.5, 2.0]]])), [[0, 0.5, 1]])
    assert figures.as_pixels(np.zeros((4, 5, 1))).shape == (4, 5)
    np.testing.assert_array_equal(figures.as_pixels(np.array([[True, False]])), [[1, 0]])


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
    with pytest.raises(ValueError, match="nocolour"):
        figures.over_colour(image, np.zeros((1, 3)), "nocolour")


def test_tint_trimap_changes_each_region_as_said():
    image = np.full((1, 4, 3), 0.4)
    tinted = figures.tint_trimap(image, np.array([[0, 128, 255, 255]], np.uint8))
    np.testing.assert_allclose(tinted[0, 2:], 0.4, atol=1e-6)
    np.testing.assert_allclose(tinted[0, 0], 0.12, atol=1e-6)
    red, green, blue = tinted[0, 1]
    assert red > green > blue


@pytest.mark.parametrize("zoom", [1, 2, 4, 8])
def test_part_enlarges_the_window_of_a_zoom(zoom):
    picture = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    height, width = 96 // zoom, 64 // zoom
    for x, y in ((0, 1), (0.5, 0.5), (1, 0)):
        top, left = round((96 - height) * y), round((64 - width) * x)
        window = picture[top : top + height, left : left + width]
        shown = figures.part(picture, (3 * width, 3 * height), zoom, x, y)
        np.testing.assert_array_equal(shown, window.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize("shape", [(5, 3), (1, 7, 3), (97, 61)])
def test_part_stays_inside_for_every_zoom_and_place(shape):
    picture = np.full(shape, 7, np.uint8)
    for zoom, x in itertools.product((1, 1.5, 3.7, 8), (0, 0.33, 1)):
        shown = figures.part(picture, (40, 30), zoom, x, 1 - x)
        assert shown.shape == (30, 40, *shape[2:]) and (shown == 7).all()


def test_part_averages_where_it_shrinks():
    picture = np.random.default_rng(0).random((8, 12), np.float32)
    means = picture.reshape(4, 2, 4, 3).mean((1, 3))
    np.testing.assert_allclose(figures.part(picture, (4, 4)), means, atol=1e-6)


def test_fitting_keeps_proportions_and_never_enlarges():
    assert figures.fitting(np.zeros((300, 400, 3)), 100) == (100, 75)
    assert figures.fitting(np.zeros((300, 400)), 1000) == (400, 300)
    assert figures.fitting(np.zeros((1, 4000)), 100) == (100, 1)


# -- rows and plots


def shown(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_error_map_paints_what_is_missing_red_and_what_is_too_much_blue():
    truth, alpha = np.array([[1.0, 0.0, 0.5, 1.0]]), np.array([[0.0, 1.0, 0.5, 0.75]])
    painted = figures.error_map(alpha, (truth * 255).astype(np.uint8))
    np.testing.assert_allclose(painted[0], [[1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 0.75, 0.75]], atol=3e-3)


def test_image_row_shows_pictures_in_order_on_the_unit_scale():
    pictures = [np.full((20, 30), 0.2), np.full((3, 3, 3), 0.9), torch.full((1, 8, 8), 0.4)]
    figure = figures.image_row(pictures, ["a", "b", "c"], columns=2, caption="look here")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c"]
    assert [round(float(values.mean()), 3) for values in shown(figure)] == [0.2, 0.9, 0.4]
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    boxes = [axes.get_position() for axes in figure.axes]
    assert boxes[0].y0 == boxes[1].y0 > boxes[2].y1
    assert boxes[0].x1 < boxes[1].x0


@pytest.mark.parametrize("count", [1, 5, 12])
def test_image_row_stays_on_the_page(count: int):
    figure = figures.image_row([np.zeros((30, 80))] * count, [f"no. {i}" for i in range(count)], height=5)
    assert figure.get_figwidth() <= figures.WIDTH + 1e-9
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(80 / 30, rel=1e-6)


@pytest.mark.parametrize("images", [[], [np.zeros((2, 2))]])
def test_image_row_wants_a_title_for_each_picture(images):
    with pytest.raises(ValueError, match="title for each"):
        figures.image_row(images, [])


def test_the_finest_part_is_where_most_pixels_are_mixed():
    rng = np.random.default_rng(3)
    alpha = rng.random((40, 60)).round()
    alpha[21:29, 33:47] = rng.random((8, 14))
    sums = {
        (top, left): (alpha * (1 - alpha))[top : top + 9, left : left + 9].sum()
        for top in range(32)
        for left in range(52)
    }
    rows, columns = figures.finest(alpha, 9)
    assert (rows.start, columns.start) == max(sums, key=sums.get)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (9, 9)
    assert alpha[figures.finest(alpha, 100)].shape == (40, 40), "no part is larger than the matte"


def test_photographs_are_stored_at_1500_pixels_and_at_most_four_share_a_row():
    photographs = [np.random.default_rng(n).random((60, 50, 3)) for n in range(5)]
    figure = figures.image_row(photographs, "abcde")
    content, _ = figures.encode(figure, "jpeg")
    assert 1400 < Image.open(io.BytesIO(content)).width <= 1560
    tops = [round(axes.get_position().y1, 2) for axes in figure.axes]
    assert len(set(tops)) == 2


def test_photographs_are_stored_as_jpeg_and_everything_else_as_png(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(figures, "get_ipython", lambda: shell)
    with plt.rc_context():
        figures.use_style()
    ramp = np.linspace(0, 1, 96)[None, :, None] * np.array([0.9, 0.7, 0.5]) + np.zeros((96, 1, 1))
    for picture, mime in ((ramp, "image/jpeg"), (ramp[..., 0], "image/png")):
        data, _ = shell.display_formatter.format(figures.image_row([picture], [""]))
        assert {"image/png", "image/jpeg"} & data.keys() == {mime}
    data, _ = shell.display_formatter.format(figures.image_row([ramp], [""]))
    stored = np.asarray(Image.open(io.BytesIO(data["image/jpeg"])), float)
    middle = stored[len(stored) // 2, :, 0]
    steps = np.abs(np.diff(middle[np.flatnonzero(middle < 200)]))
    assert np.median(steps) < 6  # no contour lines


def test_a_figure_describes_itself():
    row = figures.image_row([np.eye(4), np.eye(4)], ["matte $\\alpha_p$", "mask"], caption="Compare the two.")
    assert figures.describe(row) == "Compare the two.; matte alpha_p; mask"
    figure = figures.make_figure(3, 2)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    axes.plot([1, 2], label="seed 1")
    axes.legend()
    assert figures.describe(figure) == "loss against step, seed 1"
    assert figures.describe(figures.make_figure(1, 1)) == "figure"
