"""The inspector and the live picture, driven from Python as a browser would."""

import asyncio
import base64
import io
import json
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.data.trimaps import band_size, trimap_from_alpha
from modnet_lib.images import cover
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import Prediction
from modnet_lib.network import MODNet
from modnet_lib.notebook import figures
from modnet_lib.notebook import inspector as inspector_module
from modnet_lib.notebook.drawings import describe
from modnet_lib.notebook.inspection import region
from modnet_lib.notebook.inspector import DISTURBANCES, Question
from modnet_lib.notebook.widgets import STAGES, LivePicture, MatteInspector, crop
from modnet_lib.objectives.supervised import semantic_target

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


def upload_of(*files: tuple[str, bytes]) -> tuple[dict, ...]:
    """Files as the browser's side hands them over."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return tuple(
        {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": now}
        for name, data in files
    )


def upload(inspector: MatteInspector, *files: tuple[str, bytes]) -> None:
    inspector.upload.value = upload_of(*files)


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
    bundle, metadata = inspector._repr_mimebundle_()
    assert "MatteInspector(2 images: Grace, Ada): Grace: input; semantic;" in metadata["image/jpeg"]["alt"]
    assert set(bundle) == {"text/plain", "image/jpeg", WIDGET}
    assert bundle["text/plain"] == "MatteInspector(2 images: Grace, Ada)"
    json.dumps(bundle)  # what the kernel sends
    sheet = Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"])))
    assert sheet.format == "JPEG" and sheet.width <= 1000


def test_static_form_repeats_exactly(matter, pictures):
    bundles = [MatteInspector(matter, pictures)._repr_mimebundle_()[0] for _ in range(2)]
    first, second = ({kind: value for kind, value in bundle.items() if kind != WIDGET} for bundle in bundles)
    assert first == second


def test_one_picture_and_a_path(matter, pictures, tmp_path):
    Image.fromarray(pictures["Ada"]).save(tmp_path / "ada.png")
    inspector = MatteInspector(matter, {"one": tmp_path / "ada.png"})
    assert repr(inspector) == "MatteInspector(1 image: one)"
    inspector.stage.value = "input"
    np.testing.assert_array_equal(decode(inspector.view.value), pictures["Ada"])
    assert "one: input" in describe(inspector.static_figure())


def test_the_pictures_say_what_they_show(inspector: MatteInspector):
    inspector.disturbance.value = "blur"
    assert inspector.view.tooltip == "alpha of Grace, blur 1"
    inspector.compare.value, inspector.zoom.value, inspector.loupe.value = "undisturbed", 2, "input"
    assert (
        inspector.view.tooltip == "alpha of Grace, blur 1, enlarged 2 times; right of the line model, Grace"
    )
    assert inspector.loupe_view.tooltip == "loupe: input of Grace, blur 1, enlarged 2 times"
    assert "Grace" in inspector.overview.tooltip


def test_wrong_arguments(matter, pictures, tmp_path):
    with pytest.raises(ValueError, match="images is empty"):
        MatteInspector(matter, {})
    with pytest.raises(ValueError, match="width"):
        MatteInspector(matter, pictures, width=10)
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        MatteInspector(matter, {"x": tmp_path / "nothing.png"})


# -- the inspector's further controls


@pytest.fixture
def rich(matter, pictures, tiny_network, randomise) -> MatteInspector:
    """Two models, and one picture whose matte is known: an ellipse."""
    torch.manual_seed(9)
    other = Matter(randomise(MODNet(backbone="mobilenetv3_small_050")), short_side=64, device="cpu")
    rows, columns = np.mgrid[:96, :64]
    truth = np.clip(1.5 - np.hypot((rows - 48) / 30, (columns - 32) / 20), 0, 1).astype(np.float32)
    return MatteInspector({"first": matter, "second": other}, pictures, truths={"Grace": truth})


def test_error_stage_is_the_error_map(rich: MatteInspector):
    rich.stage.value = "error"
    expected = figures.error_map(rich.prediction().alpha, rich._truths["Grace"])
    np.testing.assert_allclose(decode(rich.view.value) / 255, expected, atol=0.51 / 255)
    mad = np.abs(rich.prediction().alpha - rich._truths["Grace"]).mean()
    assert f"{mad:.4f}" in rich.status.value
    rich.picture.value = "Ada"
    assert "not known" in rich.status.value
    np.testing.assert_array_equal(decode(rich.view.value), rich._images["Ada"])


def test_with_one_model_only_the_choice_of_models_is_hidden(inspector: MatteInspector, rich: MatteInspector):
    assert inspector.model.layout.display == "none" and rich.model.layout.display != "none"
    assert all(c.layout.display != "none" for c in inspector._controls if c is not inspector.model)


def test_without_truths_there_is_no_error_stage(inspector: MatteInspector):
    assert "error" not in inspector.stage.options and "region" in inspector.stage.options


def test_models_answer_differently_and_the_wipe_shows_both(rich: MatteInspector):
    first = decode(rich.view.value)
    rich.model.value = "second"
    second = decode(rich.view.value)
    assert (first != second).any()
    rich.model.value, rich.compare.value = "first", "second"
    for share in (0.25, 0.75):
        rich.wipe.value = share
        line = round(share * 64)
        shown = decode(rich.view.value)
        np.testing.assert_array_equal(shown[:, : line - 1], np.repeat(first[:, : line - 1, None], 3, 2))
        np.testing.assert_array_equal(shown[:, line + 1 :], np.repeat(second[:, line + 1 :, None], 3, 2))
        assert (shown[:, line] == (230, 159, 0)).all()


def test_disturbing_asks_the_network_about_the_disturbed_picture(rich: MatteInspector):
    rich.stage.value, rich.disturbance.value = "input", "brightness"
    rich.strength.value = 0.2
    np.testing.assert_allclose(decode(rich.view.value), rich._images["Grace"] * 0.2, atol=0.51)
    rich.stage.value = "alpha"
    expected = rich._matter.predict((rich._images["Grace"] * 0.2).round().astype(np.uint8)).alpha
    np.testing.assert_array_equal(decode(rich.view.value), (expected * 255).round().astype(np.uint8))
    rich.compare.value, rich.wipe.value = "undisturbed", 0
    clean = rich._matter.predict(rich._images["Grace"]).alpha
    np.testing.assert_array_equal(
        decode(rich.view.value)[:, 1:, 0], (clean[:, 1:] * 255).round().astype(np.uint8)
    )


@pytest.mark.parametrize("kind", [kind for kind in DISTURBANCES if kind != "none"])
def test_every_disturbance_grows_with_its_strength(inspector: MatteInspector, pictures, kind):
    inspector.stage.value, inspector.disturbance.value = "input", kind
    distances = []
    for level in DISTURBANCES[kind]:
        inspector.strength.value = level
        distances.append(np.abs(decode(inspector.view.value).astype(int) - pictures["Grace"]).mean())
    assert distances == sorted(distances) and distances[-1] > 0


def test_sweep_says_which_sub_objective_breaks_first(inspector: MatteInspector, monkeypatch):
    """With answers made up: details are lost at blur 2, the rest at blur 8."""
    steps = {1.0: (0, 0), 2.0: (0, 0.5), 4.0: (0, 0.6), 8.0: (0.9, 0.9), 16.0: (0.9, 0.9), 0.0: (0, 0)}
    ones = np.zeros((64, 64), np.float32)
    ones[16:48, 16:48] = 1

    def answer(question):
        semantic, detail = steps[question.level]
        picture = np.zeros((64, 64, 3), np.uint8)
        prediction = Prediction(picture, ones[::16, ::16] * (1 - semantic), ones * (1 - detail), ones)
        return inspector._predictions.setdefault(question, prediction)

    inspector._images["Grace"] = np.zeros((64, 64, 3), np.uint8)
    inspector._predictions.clear()
    inspector._kept.clear()
    monkeypatch.setattr(inspector, "_answer", answer)
    inspector.disturbance.value = "blur"
    assert "None has broken" in inspector.scores.value
    inspector.sweep.click()
    assert "First to break: <b>details d_p</b>, at blur 2" in inspector.scores.value
    assert inspector.scores.value.count("<tr>") == 6 and "50.0 %" in inspector.scores.value


def test_errors_against_the_truth_are_those_of_the_targets(rich: MatteInspector):
    truth, prediction = rich._truths["Grace"], rich.prediction()
    errors = rich._errors(Question("first", "Grace"))
    assert errors.alpha == pytest.approx(np.abs(prediction.alpha - truth).mean() / truth.mean(), rel=1e-5)
    inside = region(truth, 30)
    wrong = np.abs(prediction.detail - truth)[inside].mean() / truth[inside].mean()
    assert errors.detail == pytest.approx(wrong, rel=1e-5)
    target = semantic_target(torch.from_numpy(truth)[None, None])[0, 0].numpy()
    assert errors.semantic == pytest.approx(
        np.abs(prediction.semantic - target).mean() / target.mean(), rel=1e-4
    )


def test_region_is_the_trimaps_unknown_band():
    alpha = np.zeros((200, 200), np.float32)
    alpha[40:160, 60:140] = 1
    alpha[100, 140:150] = 0.5
    tensor = torch.from_numpy(alpha)[None, None]
    for width in (10, 40):
        expected = trimap_from_alpha(tensor, band_size(tensor, width))[0, 0].numpy() == 0.5
        np.testing.assert_array_equal(region(alpha, width), expected)
    soft = alpha * 0.9 + 0.05  # as a network answers: never 0, never 1
    assert region(soft, 30)[alpha == 0].all(), "Eq. 3 cannot be used as it is on an answer"
    np.testing.assert_array_equal(region(soft, 30, 0.1), region(alpha, 30))
    large = np.repeat(np.repeat(alpha, 8, 0), 8, 1)
    assert (region(large, 40) != np.repeat(np.repeat(region(alpha, 40), 8, 0), 8, 1)).mean() < 0.03


def test_thresholds_take_effect_without_a_forward_pass(rich: MatteInspector):
    rich._predictions[rich._question] = rich.prediction()._replace(alpha=0.9 * rich._truths["Grace"] + 0.05)
    rich.stage.value = "region"
    calls, seen = rich._matter.calls, [decode(rich.view.value).tobytes()]
    for control, value in ((rich.trimap_width, 80), (rich.soc_band, 0.4)):
        control.value = value
        seen.append(decode(rich.view.value).tobytes())
    assert len(set(seen)) == 3 and rich._matter.calls == calls
    assert "orange" in rich.status.value and "blue" in rich.status.value


def test_loupe_and_overview_follow_the_zoom(rich: MatteInspector):
    assert rich.loupe_view.layout.display == "none" and rich.overview.layout.display == "none"
    rich.loupe.value, rich.zoom.value, rich.x.value, rich.y.value = "input", 4, 0, 1
    part = rich._images["Grace"][72:, :16]
    np.testing.assert_array_equal(decode(rich.loupe_view.value), part.repeat(4, 0).repeat(4, 1))
    frame = (decode(rich.overview.value) == (230, 159, 0)).all(axis=2)
    rows, columns = frame.nonzero()
    assert rows.min() >= 0.7 * frame.shape[0] and columns.max() <= 0.3 * frame.shape[1]


def test_any_colour_and_any_picture_behind_the_cutout(inspector: MatteInspector, pictures):
    inspector.stage.value, inspector.background.value = "cutout", "colour"
    inspector.colour.value = "#ff8000"
    alpha = inspector.prediction().alpha
    expected = figures.over_colour(pictures["Grace"], alpha, "#ff8000")
    np.testing.assert_array_equal(decode(inspector.view.value), expected)
    inspector.background.value = "picture"
    assert "Upload a background" in inspector.status.value
    red = np.zeros((10, 40, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    inspector.backdrop.value = upload_of(("red.png", encoded(red)))
    assert inspector.status.value == ""
    expected = figures.over_colour(pictures["Grace"], alpha, "#ff0000")
    np.testing.assert_array_equal(decode(inspector.view.value), expected)
    inspector.backdrop.value = upload_of(("bad.png", b"no picture"))
    assert "cannot be read" in inspector.message.value


@pytest.mark.parametrize("shape", [(10, 40), (300, 20), (50, 50)])
def test_a_background_covers_without_losing_its_proportions(shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    picture = np.dstack([rows, columns, rows]).astype(np.uint8)
    covering = cover(picture, 64, 48)
    assert covering.shape == (64, 48, 3)
    scale = max(64 / shape[0], 48 / shape[1])
    steps = (
        np.diff(covering.astype(float), axis=0)[..., 0].mean(),
        np.diff(covering.astype(float), axis=1)[..., 1].mean(),
    )
    np.testing.assert_allclose(steps, 1 / scale, rtol=0.15)


def test_a_model_that_fails_says_so_in_words(matter, pictures):
    class Fragile(Matter):
        def predict(self, image):
            raise ValueError("it wants <four> channels")

    broken = Fragile(matter.network, short_side=64, device="cpu")
    inspector = MatteInspector({"good": matter, "bad": broken}, pictures)
    before = inspector.view.value
    inspector.model.value = "bad"
    assert "bad failed on Grace" in inspector.message.value and "&lt;four&gt;" in inspector.message.value
    assert inspector.view.value == before
    inspector.model.value = "good"
    assert inspector.message.value == ""
    with pytest.raises(ValueError, match="four"):
        MatteInspector(broken, pictures)


def test_in_a_browser_a_forward_pass_runs_beside_the_kernel(inspector: MatteInspector, monkeypatch):
    """The loop goes on while the network computes, the latest choice wins, and both pictures are computed once."""

    async def use() -> list[str]:
        monkeypatch.setattr(inspector_module, "_event_loop", asyncio.get_running_loop)
        started, free = threading.Event(), threading.Event()
        real = inspector._matter.predict

        def slow(image):
            started.set()
            assert free.wait(20)
            return real(image)

        monkeypatch.setattr(inspector._matter, "predict", slow)
        before, said = inspector.view.value, []
        inspector.picture.value = "Ada"
        await asyncio.to_thread(started.wait, 20)
        said.append(inspector.status.value)
        assert inspector.view.value == before, "the old picture stays until the new one is there"
        inspector.disturbance.value = "noise"
        free.set()
        while inspector._job is not None:
            await asyncio.sleep(0.01)
        said.append(inspector.status.value)
        return said

    said = asyncio.run(use())
    assert "computing Ada" in said[0] and said[1] == ""
    disturbed = inspector._predictions[Question("model", "Ada", "noise", 5)].alpha
    np.testing.assert_array_equal(decode(inspector.view.value), (disturbed * 255).round().astype(np.uint8))
    assert inspector._matter.calls == 3  # Grace, Ada, Ada with noise


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((5, 5)), "must be"),
        (np.full((96, 64), 2.0), "in \\[0, 1\\]"),
        (None, "images has only"),
    ],
)
def test_truths_that_do_not_fit_are_refused(matter, pictures, truth, message):
    truths = {"Grace": truth} if truth is not None else {"Linus": np.zeros((96, 64))}
    with pytest.raises(ValueError, match=message):
        MatteInspector(matter, pictures, truths=truths)


def test_no_models(pictures):
    with pytest.raises(ValueError, match="matter is empty"):
        MatteInspector({}, pictures)


def test_uploads_are_shrunk_to_what_a_page_can_hold(inspector: MatteInspector):
    inspector.stage.value = "input"
    upload(inspector, ("huge.png", encoded(np.zeros((30, 4096, 3), np.uint8))))
    assert inspector._images["huge.png"].shape == (15, 2048, 3)


# -- LivePicture


def test_live_picture_shows_the_newest():
    live = LivePicture()
    assert set(live._repr_mimebundle_()[0]) == {"text/plain", WIDGET}
    matte = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    live.update(matte, "step 10 <1>")
    np.testing.assert_array_equal(decode(live.view.value), (matte * 255).round().astype(np.uint8))
    assert live.caption.value == "step 10 &lt;1&gt;"
    live.update(torch.ones(3, 8, 8), "step 20")
    np.testing.assert_array_equal(decode(live.view.value), np.full((8, 8, 3), 255))
    assert live.view.tooltip == "step 20"
    bundle, metadata = live._repr_mimebundle_()
    assert bundle["text/plain"] == "LivePicture()" and "step 20" in metadata["image/jpeg"]["alt"]


def test_live_picture_strip_spans_the_run():
    live = LivePicture()
    for step in range(11):
        live.update(np.zeros((8, 8)), f"step {step}")
    titles = [axes.get_title() for axes in live.static_figure().axes]
    assert titles == ["step 0", "step 2", "step 4", "step 6", "step 8", "step 10"]
