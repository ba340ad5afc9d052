"""The inspector, driven from Python as a browser would."""

import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.images import suffixes
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import Prediction
from modnet_lib.network import MODNet
from modnet_lib.notebook import figures
from modnet_lib.notebook.inspector import DISTURBANCES, STAGES, MatteInspector


class CountingMatter(Matter):
    """A real matter that counts its predictions."""

    calls = 0

    def predict(self, image) -> Prediction:
        self.calls += 1
        return super().predict(image)


@pytest.fixture
def matter(tiny_network, randomise) -> CountingMatter:
    return CountingMatter(randomise(tiny_network), short_side=64, device="cpu")


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "Grace": rng.integers(0, 256, (96, 64, 3), dtype=np.uint8),
        "Ada": rng.integers(0, 256, (64, 80, 3), dtype=np.uint8),
    }


@pytest.fixture
def inspector(matter, pictures) -> MatteInspector:
    return MatteInspector(matter, pictures)


def decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def upload(inspector: MatteInspector, name: str, data: bytes) -> None:
    """A file as the browser's side hands it over."""
    file = {"name": name, "type": "", "size": len(data), "content": memoryview(data)}
    inspector.upload.value = (file | {"last_modified": datetime(2024, 1, 1, tzinfo=UTC)},)


def encoded(pixels: np.ndarray, form: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form)
    return buffer.getvalue()


def test_every_stage_shows_another_picture(inspector: MatteInspector):
    seen = set()
    for stage in STAGES:
        inspector.stage.value = stage
        seen.add(inspector.view.value)
    assert len(seen) == len(STAGES)


@pytest.mark.parametrize("stage", ["alpha", "detail"])
def test_matte_at_zoom_1_is_the_prediction(inspector: MatteInspector, stage):
    inspector.stage.value = stage
    expected = getattr(inspector.prediction("Grace"), stage)
    values = decode(inspector.view.value)
    np.testing.assert_array_equal(values, (expected * 255).round().astype(np.uint8))
    assert values.std() > 0  # a constant picture would prove nothing


def test_input_and_semantics(inspector: MatteInspector, pictures):
    inspector.stage.value = "input"
    np.testing.assert_array_equal(decode(inspector.view.value), pictures["Grace"])
    inspector.stage.value = "semantic"
    semantic = inspector.prediction("Grace").semantic
    assert semantic.shape == (6, 4)
    expected = (semantic * 255).round().astype(np.uint8).repeat(16, 0).repeat(16, 1)
    np.testing.assert_array_equal(decode(inspector.view.value), expected)


def test_cutout_over_each_background(inspector: MatteInspector, pictures):
    inspector.stage.value = "cutout"
    alpha = inspector.prediction().alpha
    board = figures.checkerboard(pictures["Grace"], alpha)
    np.testing.assert_array_equal(decode(inspector.view.value), board)
    for name, colour in (("white", (1, 1, 1)), ("black", (0, 0, 0)), ("green", (0, 177 / 255, 64 / 255))):
        inspector.background.value = name
        expected = alpha[..., None] * (pictures["Grace"] / 255) + (1 - alpha[..., None]) * np.array(colour)
        np.testing.assert_allclose(decode(inspector.view.value) / 255, expected, atol=0.51 / 255)


def test_controls_that_do_nothing_are_disabled(inspector: MatteInspector):
    assert inspector.background.disabled and inspector.x.disabled and inspector.y.disabled
    inspector.stage.value, inspector.zoom.value = "cutout", 2
    assert not (inspector.background.disabled or inspector.x.disabled or inspector.y.disabled)


def test_zoom_shows_the_part_at_the_same_size(inspector: MatteInspector, pictures):
    inspector.stage.value = "input"
    inspector.zoom.value = 4
    for x, y, left, top in ((0, 0, 0, 0), (1, 0, 48, 0), (0, 1, 0, 72), (0.5, 0.5, 24, 36)):
        inspector.x.value, inspector.y.value = x, y
        part = pictures["Grace"][top : top + 24, left : left + 16]
        np.testing.assert_array_equal(decode(inspector.view.value), part.repeat(4, 0).repeat(4, 1))


def test_large_pictures_are_shown_smaller_but_zoom_reaches_their_pixels(matter):
    picture = np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    inspector = MatteInspector(matter, {"large": picture}, width=100)
    inspector.stage.value = "input"
    assert decode(inspector.view.value).shape == (75, 100, 3)
    means = picture.reshape(75, 4, 100, 4, 3).mean((1, 3))
    np.testing.assert_allclose(decode(inspector.view.value), means, atol=0.51)
    inspector.zoom.value, inspector.x.value, inspector.y.value = 4, 1, 0
    np.testing.assert_array_equal(decode(inspector.view.value), picture[:75, 300:])


def test_choosing_a_picture_and_caching(inspector: MatteInspector, matter, pictures):
    assert matter.calls == 1
    for stage in STAGES:
        inspector.stage.value = stage
    inspector.zoom.value = 3
    assert matter.calls == 1
    inspector.zoom.value, inspector.stage.value = 1, "input"
    inspector.picture.value = "Ada"
    np.testing.assert_array_equal(decode(inspector.view.value), pictures["Ada"])
    inspector.stage.value = "alpha"
    inspector.picture.value = "Grace"
    inspector.picture.value = "Ada"
    assert matter.calls == 2


def test_uploading_another_file_of_the_same_name_replaces_it(inspector: MatteInspector, matter):
    inspector.stage.value = "alpha"
    first, second = (np.random.default_rng(s).integers(0, 256, (64, 64, 3), dtype=np.uint8) for s in (1, 2))
    upload(inspector, "me.png", encoded(first))
    upload(inspector, "me.png", encoded(second))
    expected = matter.predict(second).alpha
    np.testing.assert_array_equal(decode(inspector.view.value), (expected * 255).round().astype(np.uint8))


def test_uploads_are_turned_upright(inspector: MatteInspector):
    picture = Image.fromarray(np.zeros((40, 64, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    picture.save(buffer, format="jpeg", exif=exif)
    inspector.stage.value = "input"
    upload(inspector, "phone.jpg", buffer.getvalue())
    assert decode(inspector.view.value).shape == (64, 40, 3)


GOOD = np.random.default_rng(6).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("data", [b"", b"not a picture", encoded(GOOD)[:2000], encoded(GOOD, "jpeg")[:900]], ids=len)
def test_bad_upload_gives_a_message_and_changes_nothing(inspector: MatteInspector, data: bytes, capsys):
    before = inspector.view.value
    upload(inspector, "<bad>.png", data)
    assert "&lt;bad&gt;.png" in inspector.status.value and "cannot be read" in inspector.status.value
    assert "<bad>" not in inspector.status.value
    assert inspector.view.value == before and inspector.picture.options == ("Grace", "Ada")
    assert capsys.readouterr() == ("", "")
    upload(inspector, "good.png", encoded(GOOD))
    assert inspector.status.value == "" and inspector.picture.value == "good.png"


@pytest.mark.parametrize("form", ["heif", "avif", "jpeg2000"])
def test_uploads_have_any_format_that_is_read(inspector: MatteInspector, form):
    suffixes()  # registers HEIF
    upload(inspector, f"phone.{form}", encoded(GOOD, form))
    assert inspector.picture.value == f"phone.{form}"
    inspector.stage.value = "input"
    np.testing.assert_allclose(decode(inspector.view.value).mean(), GOOD.mean(), atol=4)


def test_upload_is_chosen_and_shown(inspector: MatteInspector):
    own = np.random.default_rng(5).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    inspector.stage.value, inspector.picture.value = "input", "Ada"
    upload(inspector, "me.png", encoded(own))
    assert inspector.picture.value == "me.png"
    assert inspector.picture.options == ("Grace", "Ada", "me.png")
    np.testing.assert_array_equal(decode(inspector.view.value), own)
    assert inspector.view.tooltip == "input of me.png"


def test_uploads_are_shrunk_to_what_a_page_can_hold(inspector: MatteInspector):
    upload(inspector, "huge.png", encoded(np.zeros((30, 4096, 3), np.uint8)))
    assert inspector.prediction("huge.png").image.shape == (15, 2048, 3)


def test_a_picture_may_be_a_path(matter, pictures, tmp_path):
    Image.fromarray(pictures["Ada"]).save(tmp_path / "ada.png")
    inspector = MatteInspector(matter, {"one": tmp_path / "ada.png"})
    inspector.stage.value = "input"
    np.testing.assert_array_equal(decode(inspector.view.value), pictures["Ada"])


def test_the_pictures_say_what_they_show(rich: MatteInspector):
    rich.disturbance.value = "blur"
    assert rich.view.tooltip == "alpha of Grace, blur 1"
    rich.beside.value, rich.zoom.value = "undisturbed", 2
    assert rich.view.tooltip == "alpha of Grace, blur 1, enlarged 2 times"
    assert rich.second_view.tooltip == "alpha of Grace by first, enlarged 2 times"
    rich.beside.value = "second"
    assert rich.second_view.tooltip == "alpha of Grace, blur 1 by second, enlarged 2 times"


def test_a_missing_picture_is_named(matter, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        MatteInspector(matter, {"x": tmp_path / "nothing.png"})


# -- the inspector's further controls


@pytest.fixture
def ellipse() -> np.ndarray:
    rows, columns = np.mgrid[:96, :64]
    return np.clip(1.5 - np.hypot((rows - 48) / 30, (columns - 32) / 20), 0, 1).astype(np.float32)


@pytest.fixture
def rich(matter, pictures, ellipse, randomise) -> MatteInspector:
    """Two models, and one picture whose matte is known."""
    torch.manual_seed(9)
    other = Matter(randomise(MODNet(backbone="mobilenetv3_small_050")), short_side=64, device="cpu")
    return MatteInspector({"first": matter, "second": other}, pictures, truths={"Grace": ellipse})


def test_without_truths_there_is_no_error_stage(inspector: MatteInspector):
    assert "error" not in inspector.stage.options


def test_error_stage_is_the_error_map(rich: MatteInspector, ellipse, pictures):
    rich.stage.value = "error"
    alpha = rich.prediction().alpha
    expected = figures.error_map(alpha, ellipse)
    np.testing.assert_allclose(decode(rich.view.value) / 255, expected, atol=0.51 / 255)
    assert f"{np.abs(alpha - ellipse).mean():.4f}" in rich.status.value
    rich.picture.value = "Ada"
    assert "Without a true matte" in rich.status.value
    np.testing.assert_array_equal(decode(rich.view.value), pictures["Ada"])


def test_with_one_model_only_the_choice_of_models_is_hidden(inspector: MatteInspector, rich: MatteInspector):
    assert inspector.model.layout.display == "none" and rich.model.layout.display != "none"
    assert inspector.picture.layout.display != "none"
    assert "model" not in inspector.beside.options and "second" in rich.beside.options


def test_a_stage_or_another_model_is_shown_beside(rich: MatteInspector, pictures):
    first = rich.view.value
    assert rich.second_view.layout.display == "none"
    rich.beside.value = "second"
    second = rich.second_view.value
    assert rich.second_view.layout.display != "none" and (decode(first) != decode(second)).any()
    rich.model.value, rich.beside.value = "second", "first"
    assert (rich.view.value, rich.second_view.value) == (second, first)
    rich.beside.value, rich.zoom.value, rich.x.value, rich.y.value = "input", 4, 0, 1
    part = pictures["Grace"][72:, :16]
    np.testing.assert_array_equal(decode(rich.second_view.value), part.repeat(4, 0).repeat(4, 1))


def test_disturbing_asks_the_network_about_the_disturbed_picture(inspector: MatteInspector, matter, pictures):
    inspector.stage.value, inspector.disturbance.value = "input", "brightness"
    inspector.strength.value = 1 + DISTURBANCES["brightness"].index(0.2)
    np.testing.assert_allclose(decode(inspector.view.value), pictures["Grace"] * 0.2, atol=0.51)
    inspector.stage.value, inspector.beside.value = "alpha", "undisturbed"
    dark = (pictures["Grace"] * 0.2).round().astype(np.uint8)
    for view, picture in ((inspector.view, dark), (inspector.second_view, pictures["Grace"])):
        expected = (matter.predict(picture).alpha * 255).round().astype(np.uint8)
        np.testing.assert_array_equal(decode(view.value), expected)


@pytest.mark.parametrize("kind", [kind for kind in DISTURBANCES if kind != "none"])
def test_every_disturbance_grows_with_its_strength(inspector: MatteInspector, pictures, kind):
    inspector.stage.value, inspector.disturbance.value = "input", kind
    distances = []
    for strength in range(1, 6):
        inspector.strength.value = strength
        distances.append(np.abs(decode(inspector.view.value).astype(int) - pictures["Grace"]).mean())
    assert distances == sorted(distances) and distances[-1] > 0


class Scripted(Matter):
    """Answers a square, and loses details and then everything as the picture darkens."""

    def predict(self, image) -> Prediction:
        light = image.mean() / 200
        square = np.zeros((64, 64), np.float32)
        square[16:48, 16:48] = 1
        semantic, detail = (0.1, 0.1) if light < 0.3 else (1.0, 0.5) if light < 0.6 else (1.0, 1.0)
        return Prediction(image, square[::16, ::16] * semantic, square * detail, square)


def percentages(inspector: MatteInspector) -> list[list[float]]:
    rows = inspector.scores.value.split("</tr>")[1:-1]
    return [[float(number) for number in re.findall(r"([\d.]+)%", row)] for row in rows]


def test_sweep_says_which_answer_breaks_first(matter):
    """At 0.5 of the light half of the details are gone, at 0.2 nine tenths of them and of the semantics."""
    scripted = Scripted(matter.network, short_side=64, device="cpu")
    inspector = MatteInspector(scripted, {"grey": np.full((64, 64, 3), 200, np.uint8)})
    inspector.disturbance.value = "brightness"  # 0.7, 0.5, 0.35, 0.2, 0.1
    assert inspector.scores.value == ""
    inspector.sweep.click()
    assert inspector.status.value == "", "nothing is computed any more"
    assert "First to break: <b>details d_p</b>, at brightness 0.5" in inspector.scores.value
    expected = [[0, 0, 0], [0, 50, 0], [0, 50, 0], [90, 90, 0], [90, 90, 0]]
    np.testing.assert_allclose(percentages(inspector), expected, atol=0.05)
    inspector.disturbance.value = "jpeg"
    assert inspector.scores.value == "", "the errors of another disturbance are not shown"
    inspector.sweep.click()
    assert "None has broken" in inspector.scores.value


def test_a_model_that_fails_says_so_in_words(matter, pictures):
    class Fragile(Matter):
        def predict(self, image):
            raise ValueError("it wants <four> channels")

    broken = Fragile(matter.network, short_side=64, device="cpu")
    inspector = MatteInspector({"good": matter, "bad": broken}, pictures)
    before = inspector.view.value
    inspector.model.value = "bad"
    assert "failed" in inspector.status.value and "&lt;four&gt;" in inspector.status.value
    assert inspector.view.value == before
    inspector.model.value = "good"
    assert inspector.status.value == ""
    with pytest.raises(ValueError, match="four"):
        MatteInspector(broken, pictures)
