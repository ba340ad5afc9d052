"""The inspector and the live picture, driven from Python as a browser would."""

import base64
import io
import json
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.inference import Matter
from modnet_lib.inference.matter import Prediction
from modnet_lib.notebook import figures
from modnet_lib.notebook.widgets import STAGES, LivePicture, MatteInspector, crop

WIDGET = "application/vnd.jupyter.widget-view+json"


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


def upload(inspector: MatteInspector, *files: tuple[str, bytes]) -> None:
    """Hand over files as the browser's side does."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    inspector.upload.value = tuple(
        {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": now}
        for name, data in files
    )


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
def test_matte_at_zoom_1_is_the_prediction(inspector: MatteInspector, pictures, stage):
    inspector.stage.value = stage
    expected = getattr(inspector._matter.predict(pictures["Grace"]), stage)
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


@pytest.mark.parametrize("zoom", [1, 1.5, 3.7, 8])
@pytest.mark.parametrize("shape", [(96, 64), (5, 3), (1, 7, 3)])
def test_crop_stays_inside_for_every_centre(shape, zoom):
    picture = np.zeros(shape)
    for x in (0, 0.33, 1):
        part = crop(picture, zoom, x, 1 - x)
        assert part.shape[0] == max(1, round(shape[0] / zoom))
        assert part.shape[1] == max(1, round(shape[1] / zoom))


def test_large_pictures_are_shown_smaller_but_zoom_reaches_their_pixels(matter):
    picture = np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    inspector = MatteInspector(matter, {"large": picture}, width=100)
    inspector.stage.value = "input"
    assert decode(inspector.view.value).shape == (75, 100, 3)
    means = picture.reshape(75, 4, 100, 4, 3).mean((1, 3))
    np.testing.assert_allclose(decode(inspector.view.value), means, atol=0.51)
    inspector.zoom.value, inspector.x.value, inspector.y.value = 4, 1, 0
    np.testing.assert_array_equal(decode(inspector.view.value), picture[:75, 300:])


def test_choosing_a_picture_and_caching(inspector: MatteInspector, pictures):
    matter = inspector._matter
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


def test_input_stage_alone_needs_no_prediction(inspector: MatteInspector):
    inspector.stage.value = "input"
    calls = inspector._matter.calls
    inspector.picture.value = "Ada"
    assert inspector._matter.calls == calls


def test_upload_is_chosen_and_shown(inspector: MatteInspector):
    own = np.random.default_rng(5).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    inspector.stage.value = "input"
    upload(inspector, ("me.png", encoded(own)))
    assert inspector.picture.value == "me.png"
    assert inspector.picture.options == ("Grace", "Ada", "me.png")
    np.testing.assert_array_equal(decode(inspector.view.value), own)
    assert inspector.message.value == ""


def test_uploading_another_file_of_the_same_name_replaces_it(inspector: MatteInspector):
    inspector.stage.value = "alpha"
    first, second = (np.random.default_rng(s).integers(0, 256, (64, 64, 3), dtype=np.uint8) for s in (1, 2))
    upload(inspector, ("me.png", encoded(first)))
    upload(inspector, ("me.png", encoded(second)))
    expected = inspector._matter.predict(second).alpha
    np.testing.assert_array_equal(decode(inspector.view.value), (expected * 255).round().astype(np.uint8))


def test_uploads_are_turned_upright(inspector: MatteInspector):
    picture = Image.fromarray(np.zeros((40, 64, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # a quarter turn
    buffer = io.BytesIO()
    picture.save(buffer, format="jpeg", exif=exif)
    inspector.stage.value = "input"
    upload(inspector, ("phone.jpg", buffer.getvalue()))
    assert decode(inspector.view.value).shape == (64, 40, 3)


GOOD = np.random.default_rng(6).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", encoded(GOOD)[:2000], encoded(GOOD, "jpeg")[:900]], ids=len
)
def test_bad_upload_gives_a_message_and_changes_nothing(inspector: MatteInspector, data: bytes, capsys):
    before = inspector.view.value
    upload(inspector, ("<bad>.png", data))
    assert "&lt;bad&gt;.png" in inspector.message.value and "cannot be read" in inspector.message.value
    assert "<bad>" not in inspector.message.value
    assert inspector.view.value == before and inspector.picture.options == ("Grace", "Ada")
    assert capsys.readouterr() == ("", "")
    upload(inspector, ("good.png", encoded(GOOD)))
    assert inspector.message.value == "" and inspector.picture.value == "good.png"


def test_mime_bundle_survives_stripping(inspector: MatteInspector):
    bundle = inspector._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", WIDGET}
    assert bundle["text/plain"] == "MatteInspector(2 images: Grace, Ada)"
    json.dumps(bundle)  # what the kernel sends
    sheet = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert sheet.format == "PNG" and sheet.width <= 1000


def test_static_form_repeats_exactly(matter, pictures):
    bundles = [MatteInspector(matter, pictures)._repr_mimebundle_() for _ in range(2)]
    first, second = ({kind: value for kind, value in bundle.items() if kind != WIDGET} for bundle in bundles)
    assert first == second


def test_one_picture_and_a_path(matter, pictures, tmp_path):
    Image.fromarray(pictures["Ada"]).save(tmp_path / "ada.png")
    inspector = MatteInspector(matter, {"one": tmp_path / "ada.png"})
    assert repr(inspector) == "MatteInspector(1 image: one)"
    inspector.stage.value = "input"
    np.testing.assert_array_equal(decode(inspector.view.value), pictures["Ada"])
    assert inspector.static_png()


def test_wrong_arguments(matter, pictures, tmp_path):
    with pytest.raises(ValueError, match="images is empty"):
        MatteInspector(matter, {})
    with pytest.raises(ValueError, match="width"):
        MatteInspector(matter, pictures, width=10)
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        MatteInspector(matter, {"x": tmp_path / "nothing.png"})


# -- LivePicture


def test_live_picture_shows_the_newest():
    live = LivePicture()
    assert set(live._repr_mimebundle_()) == {"text/plain", WIDGET}
    matte = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    live.update(matte, "step 10 <1>")
    np.testing.assert_array_equal(decode(live.view.value), (matte * 255).round().astype(np.uint8))
    assert live.caption.value == "step 10 &lt;1&gt;"
    live.update(torch.ones(3, 8, 8), "step 20")
    np.testing.assert_array_equal(decode(live.view.value), np.full((8, 8, 3), 255))
    bundle = live._repr_mimebundle_()
    assert bundle["text/plain"] == "LivePicture()" and "image/png" in bundle


def test_live_picture_strip_spans_the_run(monkeypatch):
    chosen = []
    real = figures.image_row
    monkeypatch.setattr(
        "modnet_lib.notebook.live.image_row", lambda *args: chosen.extend(args[1]) or real(*args)
    )
    live = LivePicture()
    for step in range(11):
        live.update(np.zeros((8, 8)), f"step {step}")
    assert live.static_png()
    assert chosen == ["step 0", "step 2", "step 4", "step 6", "step 8", "step 10"]
