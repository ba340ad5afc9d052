"""The protocol: every picture at its own size, a mean over pictures."""

from __future__ import annotations

import copy
import csv
import json
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from modnet_lib.data.items import read_item
from modnet_lib.data.manifest import find_items
from modnet_lib.data.readers import Labelled, benchmark
from modnet_lib.evaluation.methods import Method, trimap_of
from modnet_lib.evaluation.metrics import METRICS
from modnet_lib.evaluation.protocol import QUICK, STILL, Protocol, run_benchmark
from modnet_lib.evaluation.records import Record, describe, mean_errors, read_records
from modnet_lib.inference import Matter
from modnet_lib.network import MODNet
from modnet_lib.provenance import checksum


def test_the_protocol_measures_every_picture_at_its_own_size() -> None:
    rng = np.random.default_rng(1)
    shapes, seen = [(31, 17), (600, 20)], []
    truths = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    truths.append(rng.random((9, 8)))
    images = [rng.integers(0, 256, (*t.shape, 3), dtype=np.uint8) for t in truths]

    def alpha(image: np.ndarray) -> np.ndarray:
        seen.append(image.shape)
        return image[..., 0].astype(np.float32) / 255

    readers = {str(i): partial(Labelled, *pair, {}) for i, pair in enumerate(zip(images, truths, strict=True))}
    records = run_benchmark(alpha, readers, protocol=QUICK, show_progress=False)
    assert [r.name for r in records] == ["0", "1", "2"]
    assert seen == [i.shape for i in images]
    for record, image, truth in zip(records, images, truths, strict=True):
        truth = truth / 255 if truth.dtype == np.uint8 else truth
        assert record.errors["mad"] == pytest.approx(np.abs(image[..., 0] / 255 - truth).mean(), rel=1e-5)
        assert set(record.errors) == {"mse", "mad", "iou"}
    # a mean over pictures, not over pixels
    assert mean_errors(records)["mse"] == pytest.approx(sum(r.errors["mse"] for r in records) / 3)


def test_a_matte_of_another_size_is_an_error() -> None:
    readers = {"a": partial(Labelled, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8)), {})}
    with pytest.raises(ValueError, match="ground truth"):
        run_benchmark(lambda _image: np.zeros((512, 512)), readers, show_progress=False)


def test_the_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        mean_errors([])
    assert mean_errors([Record("a", {"mse": 1.0, "mad": 2.0, "iou": 0.5})]) == {"mse": 1.0, "mad": 2.0, "iou": 0.5}


@pytest.fixture
def small_benchmark(tmp_path, monkeypatch):
    """A folder in PPM-100's layout: five pictures of two sizes."""
    folder, rng = tmp_path / "PPM-100", np.random.default_rng(0)
    for number, shape in enumerate([(40, 64), (40, 64), (64, 48), (40, 64), (64, 48)]):
        alpha = np.zeros(shape, np.uint8)
        alpha[8:30, 10:40] = rng.integers(100, 256, alpha[8:30, 10:40].shape)
        for part, values in (("image", rng.integers(0, 256, (*shape, 3), dtype=np.uint8)), ("matte", alpha)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / part / f"p{number}.jpg")
    return folder


def truth_of(folder, name):
    return np.asarray(Image.open(folder / "matte" / f"{name}.jpg"))


def grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=2) / 255


def test_a_function_is_measured_picture_by_picture(small_benchmark) -> None:
    records = run_benchmark(grey, benchmark("ppm100", small_benchmark), show_progress=False)
    assert [record.name for record in records] == ["p0", "p1", "p2", "p3", "p4"]
    for record in records:
        image = np.asarray(Image.open(small_benchmark / "image" / f"{record.name}.jpg"))
        truth = truth_of(small_benchmark, record.name) / 255
        assert record.errors == {name: METRICS[name](grey(image), truth) for name in STILL}
        assert float(record.strata["person"]) == pytest.approx((truth > 0.5).mean(), abs=1e-3)
        assert record.seconds > 0


def test_the_unknown_region_is_the_band_of_the_truths_trimap(small_benchmark) -> None:
    protocol = Protocol(region="unknown", metrics=("mad",))
    first = run_benchmark(grey, benchmark("ppm100", small_benchmark), protocol=protocol, show_progress=False)[0]
    image = np.asarray(Image.open(small_benchmark / "image" / "p0.jpg"))
    truth = truth_of(small_benchmark, "p0") / 255
    band = trimap_of(truth) == 0.5
    assert first.errors["mad"] == pytest.approx(np.abs(grey(image) - truth)[band].mean())


@pytest.mark.parametrize("way", [{"batch_size": 3}, {"workers": 2}, {"batch_size": 5, "workers": 2}])
def test_batches_and_workers_change_no_number(small_benchmark, tiny_network, way) -> None:
    matter = Matter(tiny_network, device="cpu")
    protocol = Protocol(side=64)
    readers, common = benchmark("ppm100", small_benchmark), {"protocol": protocol, "show_progress": False}
    one, other = run_benchmark(matter, readers, **common), run_benchmark(matter, readers, **common, **way)
    for before, after in zip(one, other, strict=True):
        assert (before.name, before.strata) == (after.name, after.strata)
        assert after.errors == pytest.approx(before.errors, rel=1e-5)


def test_the_protocol_decides_the_networks_input(small_benchmark, tiny_network) -> None:
    seen = []
    tiny_network.register_forward_pre_hook(lambda _module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    matter = Matter(tiny_network, short_side=32, device="cpu")
    for resize in ("short_side", "squash"):
        protocol = Protocol(resize=resize, side=64, metrics=("mad",))
        run_benchmark(matter, benchmark("ppm100", small_benchmark), protocol=protocol, show_progress=False)
    assert seen == [(64, 96), (64, 96), (64, 64), (64, 96), (64, 64)] + [(64, 64)] * 5
    assert matter.short_side == 32, "the caller's own is not changed"


class Dying:
    """A model that is interrupted at its third picture."""

    def __init__(self, at: int = 3) -> None:
        self.calls, self.at = 0, at

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return grey(image)


def test_a_run_that_was_cut_goes_on_with_identical_records(small_benchmark, tmp_path) -> None:
    readers, whole, cut = (
        benchmark("ppm100", small_benchmark), tmp_path / "whole.csv", tmp_path / "deep" / "cut.csv"
    )  # fmt: skip
    run_benchmark(grey, readers, output=whole, show_progress=False)
    model = Dying()
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(model, readers, output=cut, show_progress=False)
    with cut.open("a") as file:
        file.write("p2,0.1,0.3")  # a line that was cut
    again = run_benchmark(model, readers, output=cut, show_progress=False)
    assert model.calls == 3 + 3, "the first two were not measured again"
    assert [r.errors for r in again] == [r.errors for r in read_records(whole)]
    assert [(r.name, r.strata) for r in read_records(cut)] == [(r.name, r.strata) for r in again]
    with pytest.raises(ValueError, match="another run"):
        run_benchmark(grey, readers, output=cut, show_progress=False)
    with pytest.raises(ValueError, match="another run"):
        run_benchmark(model, readers, output=cut, protocol=Protocol(side=256), show_progress=False)


def test_the_table_has_a_plain_column_for_each_metric(small_benchmark, tmp_path) -> None:
    output = tmp_path / "out.csv"
    records = run_benchmark(grey, benchmark("ppm100", small_benchmark), output=output, show_progress=False)
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["p0", "p1", "p2", "p3", "p4"]
    assert [float(row["mad"]) for row in rows] == [record.errors["mad"] for record in records]
    assert {*STILL, "name", "seconds", "stratum:person"} <= rows[0].keys()
    assert [(r.name, r.errors, r.strata, r.seconds) for r in read_records(output)] == [
        (r.name, r.errors, r.strata, r.seconds) for r in records
    ]
    beside = json.loads(output.with_suffix(".json").read_text())
    assert beside["provenance"].keys() >= {"commit", "device", "precision", "versions"}
    image, matte = (small_benchmark / part / "p0.jpg" for part in ("image", "matte"))
    assert beside["pictures"]["p0"] == [checksum(image), checksum(matte)]


def test_the_device_of_the_model_is_recorded(small_benchmark, tmp_path, tiny_network, monkeypatch) -> None:
    readers = benchmark("ppm100", small_benchmark, count=1)
    where = {}
    monkeypatch.setattr("modnet_lib.evaluation.protocol.weights_fingerprint", lambda _: "some")
    monkeypatch.setattr("modnet_lib.evaluation.protocol.recorded", lambda _, device, **rest: {"origin": str(device)})
    for model in (
        Matter(tiny_network, device="cpu"),
        Method(tiny_network),
        Method(copy.deepcopy(tiny_network).to("meta")),
    ):
        output = tmp_path / f"{len(where)}.csv"
        with suppress(RuntimeError, ValueError):  # it is written before the first picture
            run_benchmark(model, readers, output=output, show_progress=False)
        where[len(where)] = json.loads(output.with_suffix(".json").read_text())["provenance"]
    assert [*where.values()] == ["cpu", "cpu", "meta"]


def test_a_table_belongs_to_one_model_and_one_set(small_benchmark, tmp_path, tiny_network) -> None:
    common = {"protocol": Protocol(side=64, metrics=("mad",)), "show_progress": False}

    def run(model, name: str, count: int | None = None, **changes):
        readers = benchmark("ppm100", small_benchmark, count)
        return run_benchmark(model, readers, output=tmp_path / name, **common | changes)

    matter, calls = Matter(tiny_network, device="cpu"), []
    matter.network.register_forward_pre_hook(lambda *_: calls.append(1))
    run(matter, "a.csv", count=2)
    run(matter, "a.csv")
    assert len(calls) == 5, "of fewer pictures, and then of more"
    before = (tmp_path / "a.csv").read_bytes()
    with pytest.raises(ValueError, match=r"a\.csv belongs to another run: model\.refine was false, now it is true"):
        run(Matter(tiny_network, device="cpu", refine=True), "a.csv")
    with pytest.raises(ValueError, match=r"protocol\.side was 64, now it is 96"):
        run(matter, "a.csv", protocol=Protocol(side=96, metrics=("mad",)))
    with torch.no_grad():
        next(tiny_network.parameters()).mul_(1.01)
    with pytest.raises(ValueError, match=r"model\.network was"):
        run(matter, "a.csv")
    with pytest.raises(ValueError, match=r"model was .*now it is .*test_protocol\.grey"):
        run(grey, "a.csv")

    folder = tmp_path / "mattes"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(truth_of(small_benchmark, f"p{number}")).save(folder / f"p{number}.png")
    run(folder, "b.csv")
    Image.fromarray(truth_of(small_benchmark, "p3") // 2).save(folder / "p3.png")
    with pytest.raises(ValueError, match=r"model\.p3\.png was \"\d+ bytes"):
        run(folder, "b.csv")

    run(grey, "c.csv")
    file = small_benchmark / "image" / "p1.jpg"
    Image.open(file).save(file, quality=30)
    with pytest.raises(ValueError, match=r"pictures\.p1 was \[.*\], now it is"):
        run(grey, "c.csv")
    run(grey, "d.csv")
    for number in range(5):
        for part in ("image", "matte"):
            (small_benchmark / part / f"p{number}.jpg").rename(small_benchmark / part / f"q{number}.jpg")
    with pytest.raises(ValueError, match=r"pictures\.p0 was .*missing"):
        run(grey, "d.csv")
    assert (tmp_path / "a.csv").read_bytes() == before


def test_interrupted_writing_leaves_old_files(small_benchmark, tmp_path, monkeypatch) -> None:
    output = tmp_path / "out.csv"
    run_benchmark(grey, benchmark("ppm100", small_benchmark), output=output, show_progress=False)
    with output.open("a") as file:
        file.write("p5,0.1")
    before = [path.read_bytes() for path in (output, output.with_suffix(".json"))]

    def dies(*_arguments):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", dies)
        with pytest.raises(OSError, match="full"):
            read_records(output)
        with pytest.raises(OSError, match="full"):
            run_benchmark(grey, benchmark("ppm100", small_benchmark), output=output, show_progress=False)
    assert [path.read_bytes() for path in (output, output.with_suffix(".json"))] == before
    assert len(read_records(output)) == 5


def test_batches_are_as_large_as_asked_for(tiny_network) -> None:
    sizes, image = [], np.zeros((64, 64, 3), np.uint8)
    tiny_network.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    readers = {str(n): (lambda: Labelled(image, image[..., 0], {})) for n in range(20)}
    protocol = Protocol(side=64, metrics=("mad",))
    matter = Matter(tiny_network, device="cpu")
    run_benchmark(matter, readers, protocol=protocol, batch_size=16, show_progress=False)
    assert sizes == [16, 4]


def test_a_folder_of_mattes(small_benchmark, tmp_path) -> None:
    folder = tmp_path / "mattes"
    folder.mkdir()
    for number in range(5):
        truth = truth_of(small_benchmark, f"p{number}")
        Image.fromarray(255 - truth).save(folder / f"p{number}.png")
    records = run_benchmark(folder, benchmark("ppm100", small_benchmark), show_progress=False)
    truth = truth_of(small_benchmark, "p3") / 255
    assert records[3].errors["mad"] == pytest.approx(np.abs(1 - 2 * truth).mean())


@pytest.mark.parametrize("kind", ["transparency", "label", "float", "16 bits"])
def test_the_truth_in_any_format_has_no_error(tmp_path, kind) -> None:
    """Photographs in image/, mattes in alpha/; then the same mattes as another tool's."""
    rng = np.random.default_rng(4)
    for name in "ab":
        alpha = np.zeros((40, 50), np.uint16)
        alpha[8:30, 10:40] = 65535
        if kind != "label":
            alpha[8:12, 10:40] = (
                rng.integers(0, 256, (4, 30)) * 257 if kind == "transparency" else rng.integers(0, 65536, (4, 30))
            )
        for folder in (tmp_path / "set" / "alpha", tmp_path / "theirs"):
            folder.mkdir(parents=True, exist_ok=True)
            if kind == "float":
                tifffile.imwrite(folder / f"{name}.tif", (alpha / 65535).astype(np.float32))
            elif kind == "16 bits":
                Image.fromarray(alpha).save(folder / f"{name}.png")
            elif kind == "label":
                Image.fromarray((alpha > 0).astype(np.uint8)).save(folder / f"{name}.png")
            else:
                byte = (alpha >> 8).astype(np.uint8)
                Image.fromarray(np.dstack([byte * 0, byte * 0, byte * 0, byte])).save(folder / f"{name}.png")
        (tmp_path / "set" / "image").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / "set" / "image" / f"{name}.jpg"
        )
    items = find_items("pairs", tmp_path / "set")
    readers = {item.id: (lambda item=item: Labelled(**read_item(item, exact=True), strata={})) for item in items}
    for record in run_benchmark(tmp_path / "theirs", readers, show_progress=False):
        assert record.errors["mad"] < 1e-7
        assert 0.2 < float(record.strata["person"]) < 0.5
    worse = run_benchmark(lambda image: np.zeros(image.shape[:2]), readers, show_progress=False)
    assert worse[0].errors["mad"] > 0.2


def test_a_folder_of_grey_cut_outs_is_refused(small_benchmark, tmp_path) -> None:
    folder = tmp_path / "mattes"
    folder.mkdir()
    for number in range(5):
        image = Image.open(small_benchmark / "image" / f"p{number}.jpg").convert("L")
        inside = truth_of(small_benchmark, f"p{number}") > 60
        Image.fromarray(np.where(inside, np.asarray(image), 0).astype(np.uint8)).save(folder / f"p{number}.png")
    with pytest.raises(ValueError, match=r"5 problems(.|\n)*p4\.png looks like a grey cut-out"):
        run_benchmark(folder, benchmark("ppm100", small_benchmark), show_progress=False)


def test_everything_that_is_wrong_with_a_folder_is_said_at_once(small_benchmark, tmp_path) -> None:
    folder = tmp_path / "mattes"
    folder.mkdir()
    for number in (0, 1, 2):
        Image.fromarray(truth_of(small_benchmark, f"p{number}")).save(folder / f"p{number}.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "p1.png")
    (folder / "p2.png").write_bytes(b"\x89PNG no picture")
    Image.fromarray(truth_of(small_benchmark, "p3")).save(folder / "stranger.png")
    with pytest.raises(ValueError, match="5 problems") as caught:
        run_benchmark(folder, benchmark("ppm100", small_benchmark), show_progress=False)
    message = str(caught.value)
    for expected in (
        "missing: p3",
        "missing: p4",
        "not in the benchmark: stranger.png",
        "p1.png is (9, 9), the picture (40, 64)",
        "p2.png is damaged",
    ):
        assert expected in message
    with pytest.raises(FileNotFoundError, match="no folder"):
        run_benchmark(tmp_path / "gone", benchmark("ppm100", small_benchmark), show_progress=False)


def test_a_matte_that_is_none_names_its_picture(small_benchmark) -> None:
    with pytest.raises(ValueError, match=r"p0.*finite"):
        run_benchmark(lambda image: grey(image) * np.nan, benchmark("ppm100", small_benchmark), show_progress=False)


def test_a_network_with_a_trimap_gets_the_truths(small_benchmark) -> None:
    torch.manual_seed(0)
    network = MODNet(backbone="mobilenetv3_small_050", trimap_input=True).eval()
    method, protocol = Method(network), Protocol(side=64, metrics=("mad",))
    records = run_benchmark(method, benchmark("ppm100", small_benchmark), protocol=protocol, show_progress=False)
    image = np.asarray(Image.open(small_benchmark / "image" / "p0.jpg"))
    truth = truth_of(small_benchmark, "p0") / 255
    expected = Method(network, 64).alpha(image, trimap_of(truth))
    assert records[0].errors["mad"] == pytest.approx(np.abs(expected - truth).mean())


def test_describe_by_hand() -> None:
    truth = np.zeros((80, 80), np.uint8)
    truth[20:60, 20:60] = 255
    truth[20:60, 59] = 128
    image = np.zeros((80, 80, 3), np.uint8)
    image[truth > 0] = 255
    told = describe(image, truth)
    assert float(told["person"]) == pytest.approx(1600 / 6400, abs=1e-3)
    assert float(told["soft"]) == pytest.approx(40 / 6400, abs=1e-4)
    assert float(told["contrast"]) == pytest.approx(1, abs=0.02), "white on black"
    assert float(describe(image * 0 + 90, truth)["contrast"]) == 0
    assert float(describe(image, truth * 0)["contrast"]) == 0, "nobody is there"
