"""SOC as a run: what it may change, what stops it, and that a cut one ends with the same bits."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from modnet_lib import paths
from modnet_lib.images import to_tensor
from modnet_lib.network import MODNet, load_checkpoint, save_checkpoint
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.training import adaptation
from modnet_lib.training.adaptation import NORMS, PRESETS, SOC, AdaptationConfig, adapt, trainable
from modnet_lib.training.frames import find_frames, has_collapsed, watch
from modnet_lib.training.semantic_head import SOURCE, SOURCE_SIDE, fit_semantic_head, with_semantic_head

CONFIG = AdaptationConfig(epochs=2, batch_size=2, short_side=64, until=0)


@pytest.fixture(scope="module")
def frames(drawn_samples) -> list[np.ndarray]:
    return [sample.image for sample in drawn_samples(5, 64)]


def run(network, frames, config, folder, **options):
    return adapt(network, frames, config, folder, device="cpu", show_progress=False, **options)


def moved(before: nn.Module, after: nn.Module) -> set[str]:
    old, new = before.state_dict(), after.state_dict()
    return {name for name in old if not torch.equal(old[name], new[name])}


def norm_state(network: nn.Module) -> set[str]:
    names = [(n, m) for n, m in network.named_modules() if isinstance(m, NORMS)]
    return {f"{n}.{key}" for n, m in names for key in m.state_dict()}


def norm_affine(network: nn.Module) -> set[str]:
    return {name for name in norm_state(network) if name.endswith(("weight", "bias"))}


def test_paper_preset_freezes_norms_and_their_affine_weights(tiny_network, frames, tmp_path) -> None:
    result = run(tiny_network, frames, CONFIG, tmp_path)
    changed = moved(tiny_network, result.network)
    assert not changed & norm_state(tiny_network)
    assert changed == {name for name, _ in tiny_network.named_parameters()} - norm_affine(tiny_network)
    assert result.epoch == 2


def test_released_preset_trains_affine_weights_but_not_statistics(tiny_network, frames, tmp_path) -> None:
    config = dataclasses.replace(PRESETS["released"], epochs=1, short_side=64, until=0)
    changed = moved(tiny_network, run(tiny_network, frames, config, tmp_path).network)
    # without a transition region nothing pulls at d, whose head then rests
    heads = {f"detail_branch.head.{part}" for part in ("weight", "bias")}
    assert changed | heads == {name for name, _ in tiny_network.named_parameters()}


def test_presets_are_those_of_paper_and_release() -> None:
    paper, released = PRESETS["paper"], PRESETS["released"]
    assert (paper.learning_rate, paper.epochs, paper.refresh, paper.freeze_affine) == (1e-4, 15, False, True)
    assert paper == AdaptationConfig()
    assert (paper.until, released.until) == (0, 0), "neither stops early"
    assert (released.learning_rate, released.betas, released.refresh) == (1e-5, (0.9, 0.99), True)


def frozen_states(monkeypatch, network, frames, config, folder) -> list[dict]:
    """The weights of M' at every step."""
    seen = []
    terms = adaptation.soc_terms

    def spy(live, frozen, *rest):
        seen.append(copy.deepcopy(frozen.state_dict()))
        return terms(live, frozen, *rest)

    monkeypatch.setattr(adaptation, "soc_terms", spy)
    run(network, frames, config, folder)
    return seen


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in other)


def test_the_copy_never_changes_in_the_paper_preset(monkeypatch, tiny_network, frames, tmp_path) -> None:
    states = frozen_states(monkeypatch, tiny_network, frames, CONFIG, tmp_path)
    assert len(states) == 6
    assert all(same(state, tiny_network.state_dict()) for state in states)


def test_the_copy_is_refreshed_every_epoch_in_the_released_preset(monkeypatch, tiny_network, frames, tmp_path) -> None:
    config = dataclasses.replace(CONFIG, preset="released", refresh=True)
    states = frozen_states(monkeypatch, tiny_network, frames, config, tmp_path)
    assert all(same(state, tiny_network.state_dict()) for state in states[:3])
    assert not same(states[3], tiny_network.state_dict())
    assert all(same(state, states[3]) for state in states[3:])


def test_a_batch_of_two_sizes_is_the_mean_over_its_frames(tiny_network, tmp_path) -> None:
    images = [torch.rand(1, 3, 64, 64).double(), torch.rand(2, 3, 64, 96).double()]
    updates = []
    for number, groups in enumerate((images, [images[1][:1], images[0], images[1][1:]])):
        trainer = SOC(tiny_network, [np.zeros((64, 64, 3))], CONFIG, tmp_path / str(number), device="cpu")
        for part in (trainer.network, trainer.frozen):  # in single precision the order of a sum shows
            part.double()
        trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), lr=1.0)
        record = trainer.update(trainer.network, trainer.pieces(iter([groups])))
        updates.append((record, trainer.network.state_dict()))
    assert updates[0][0] == pytest.approx(updates[1][0], rel=1e-6)  # the sums of the terms are single
    for name, value in updates[0][1].items():
        torch.testing.assert_close(value, updates[1][1][name], rtol=1e-7, atol=1e-9)


def test_every_epoch_has_each_frame_once_grouped_by_size(tiny_network, tmp_path) -> None:
    pictures = [np.full((64, 64 + 32 * (k % 2), 3), k, np.uint8) for k in range(5)]
    trainer = SOC(tiny_network, pictures, CONFIG, tmp_path, device="cpu")
    found = list(trainer.batches())
    assert [sum(map(len, groups)) for groups in found] == [2, 2, 1] * 2
    orders = []
    for epoch in (found[:3], found[3:]):
        values = [[(group * 255).round()[:, 0, 0, 0].int() for group in groups] for groups in epoch]
        orders.append(torch.cat([group for groups in values for group in groups]).tolist())
        assert sorted(orders[-1]) == list(range(5))
        for groups in values:
            assert len({int(number) % 2 for group in groups for number in group}) == len(groups)
    assert orders[0] != orders[1]
    assert {tuple(group.shape[1:]) for groups in found for group in groups} == {(3, 64, 64), (3, 64, 96)}
    trainer.step = 4
    assert [sum(map(len, groups)) for groups in trainer.batches()] == [2, 1]


@pytest.mark.parametrize(
    ("person", "before", "expected"),
    [
        (0.01, 0.3, True),  # everybody gone
        (0.95, 0.3, True),  # everything is somebody
        (0.2, 0.3, False),
        (0.001, 0.01, False),  # nobody was there
        (1.0, 0.99, False),  # nothing else was there
    ],
)
def test_collapse(person: float, before: float, expected: bool) -> None:
    assert has_collapsed(person, before) is expected


@pytest.mark.parametrize("bias", [-60.0, 60.0])
@pytest.mark.parametrize(
    ("window", "message"),
    [
        (20, "collapse: the mean alpha of the frames went"),
        (2, "step 2 of epoch 2: collapse: the mean alpha of the frames went"),
    ],
)
def test_a_collapse_stops_the_run_and_keeps_the_last_good_weights(
    monkeypatch, tiny_network, frames, tmp_path, bias: float, window: int, message: str
) -> None:
    config = dataclasses.replace(CONFIG, epochs=5)
    good = run(tiny_network, frames, dataclasses.replace(config, epochs=1), tmp_path / "good")
    assert not good.stopped
    begin = SOC.begin

    def drift(trainer, model):
        """A matte that turns all black or all white after the first epoch."""
        if trainer.step >= 3:
            nn.init.constant_(model.fusion_branch.head.bias, bias)
        return begin(trainer, model)

    monkeypatch.setattr(SOC, "begin", drift)
    monkeypatch.setattr(SOC, "window", window)
    result = run(tiny_network, frames, config, tmp_path / "bad")
    assert message in result.stopped
    assert result.epoch == 1
    assert same(result.network.state_dict(), good.network.state_dict())
    again = run(tiny_network, frames, config, tmp_path / "bad")
    assert again.stopped == result.stopped
    assert same(again.network.state_dict(), result.network.state_dict())


@pytest.mark.parametrize("part", ["total", "gradient"])
def test_what_is_not_finite_stops_the_run_and_changes_nothing(
    monkeypatch, tiny_network, frames, tmp_path, part: str
) -> None:
    whole = adaptation.CONSISTENCY["paper"]

    def broken(output, *rest):
        if part == "gradient":
            output.alpha.register_hook(lambda gradient: gradient * float("nan"))
        losses = whole(output, *rest)
        return losses._replace(total=losses.total * float("nan")) if part == "total" else losses

    monkeypatch.setitem(adaptation.CONSISTENCY, "paper", broken)
    result = run(tiny_network, frames, CONFIG, tmp_path)
    assert "step 1 of epoch 1: the loss is" in result.stopped and "not finite" in result.stopped
    assert result.epoch == 0
    assert same(result.network.state_dict(), tiny_network.state_dict())


def test_frames_without_people_do_not_break_a_batch_of_one(tiny_network, tmp_path) -> None:
    nn.init.constant_(tiny_network.fusion_branch.head.bias, -60.0)
    config = dataclasses.replace(CONFIG, batch_size=1)
    for preset in PRESETS:
        result = run(tiny_network, [np.zeros((64, 64, 3), np.uint8)], dataclasses.replace(config, preset=preset),
                     tmp_path / preset)  # fmt: skip
        assert not result.stopped
        assert all(np.isfinite(record["loss"]) for record in result.history[1:])


def test_a_run_stops_when_the_disagreement_is_that_of_the_source_domain(
    monkeypatch, tiny_network, frames, tmp_path
) -> None:
    levels = [0.5, 0.3, 0.21, 0.1]

    def watch(*_):
        return {"disagreement": levels[calls.pop()], "person": 0.3, "person_before": 0.3}

    monkeypatch.setattr(adaptation, "watch", watch)
    config = dataclasses.replace(CONFIG, epochs=3, until=1.1)
    calls = [3, 2, 1, 0]
    assert run(tiny_network, frames, config, tmp_path / "unknown").epoch == 3, "nothing is known of the source"
    tiny_network.metadata = {SOURCE: "0.2", SOURCE_SIDE: "64"}
    calls = [3, 2, 1, 0]
    result = run(tiny_network, frames, config, tmp_path / "known")
    assert (result.epoch, len(result.history)) == (2, 3)
    assert "source domain" in result.stopped
    assert result.network.metadata["adapted"] == "SOC, paper, epoch 2"
    calls = [3]
    result = run(tiny_network, frames, config, tmp_path / "there")
    assert result.epoch == 0
    calls = [3, 3, 3, 3]
    config = dataclasses.replace(CONFIG, epochs=3, until=AdaptationConfig().until)
    assert not run(tiny_network, frames, config, tmp_path / "default").stopped
    assert same(result.network.state_dict(), tiny_network.state_dict())


def test_fitting_the_semantic_head_changes_nothing_else(tiny_network, drawn_samples) -> None:
    tiny_network.eval()
    samples = drawn_samples(4, 64)
    fitted = fit_semantic_head(tiny_network, samples, 64, steps=240)
    changed = moved(tiny_network, fitted)
    assert changed == {"semantic_branch.head.weight", "semantic_branch.head.bias"}
    x = torch.cat([to_tensor(sample.image) for sample in samples[:3]])  # the last quarter is not fitted
    target = semantic_target(torch.cat([to_tensor(sample.alpha) for sample in samples[:3]]))
    with torch.no_grad():
        before, after = tiny_network(x, auxiliary=True), fitted(x, auxiliary=True)
    assert torch.equal(before.alpha, after.alpha)
    assert torch.equal(before.detail, after.detail)
    errors = [torch.nn.functional.mse_loss(output.semantic, target) for output in (before, after)]
    assert errors[1] < 0.9 * errors[0]
    assert 0 < float(fitted.metadata[SOURCE]) < 1
    with pytest.raises(ValueError, match="four samples"):
        fit_semantic_head(tiny_network, samples[:3])


def test_the_shipped_head_fits_the_shipped_network_only(tiny_network) -> None:
    shipped = load_checkpoint(paths.PRETRAINED)
    assert moved(shipped, with_semantic_head(shipped)) <= {"semantic_branch.head.weight", "semantic_branch.head.bias"}
    with pytest.raises(ValueError, match="another network"):
        with_semantic_head(tiny_network)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        with_semantic_head(shipped, "nowhere.safetensors")


def test_watch_sees_what_it_says(tiny_network) -> None:
    tiny_network.eval()
    images = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 96)]
    with torch.no_grad():
        alphas = [tiny_network(image).alpha for image in images]
        seen = watch(tiny_network, images, [alpha - 0.25 for alpha in alphas])
    assert seen["drift"] == pytest.approx(0.25, rel=1e-4)
    assert seen["person"] == pytest.approx(np.mean([a.mean() for a in alphas]), rel=1e-5)
    assert seen["person_before"] == pytest.approx(seen["person"] - 0.25, rel=1e-4)
    assert seen["flip"] > 0
    assert watch(tiny_network, images)["drift"] == 0


@pytest.mark.parametrize("refresh", [False, True], ids=["fixed copy", "refreshed copy"])
def test_a_run_cut_anywhere_resumes_to_the_same_bits(tiny_network, frames, tmp_path, refresh) -> None:
    frames, config = frames[:3], dataclasses.replace(CONFIG, refresh=refresh)
    whole = run(tiny_network, frames, config, tmp_path / "whole")
    for cut in (1, 2, 3):  # within an epoch, at its end, after one
        folder = tmp_path / str(cut)
        run(tiny_network, frames, config, folder, stop_after=cut)
        torch.manual_seed(cut)  # the random state plays no part
        resumed = run(tiny_network, frames, config, folder)
        assert resumed.history == whole.history
        assert same(resumed.network.state_dict(), whole.network.state_dict())
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "epoch" in line] == whole.history[1:]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tiny_network, frames, tmp_path) -> None:
    save_checkpoint(tiny_network, tmp_path / "start.safetensors")
    np.save(tmp_path / "frames.npy", np.stack(frames))
    config = dataclasses.replace(CONFIG, epochs=30)
    script = f"""
import numpy as np, torch
from modnet_lib.network import load_checkpoint
from modnet_lib.training.adaptation import AdaptationConfig, adapt
torch.set_num_threads(1)
start, frames = load_checkpoint("start.safetensors"), list(np.load("frames.npy"))
adapt(start, frames, {config!r}, "run", device="cpu", show_progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE)
    log, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 120
    while not log.is_file() or log.read_text().count("\n") < 2:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    epochs = log.read_text().count("\n") // 3 + 1  # of three steps each
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        shorter = dataclasses.replace(config, epochs=epochs)
        whole = run(tiny_network, frames, shorter, tmp_path / "whole")
        identity = json.loads((tmp_path / "whole" / "identity.json").read_text())
        (tmp_path / "run" / "identity.json").write_text(json.dumps(identity))
        if (file := tmp_path / "run" / "state.pt").is_file():
            torch.save(torch.load(file, weights_only=True) | {"identity": identity}, file)
        resumed = run(tiny_network, frames, shorter, tmp_path / "run")
    finally:
        torch.set_num_threads(threads)
    assert resumed.history == whole.history
    assert same(resumed.network.state_dict(), whole.network.state_dict())


def test_a_folder_of_another_run_is_refused_and_the_first_difference_named(tiny_network, frames, tmp_path) -> None:
    run(tiny_network, frames, CONFIG, tmp_path / "run", stop_after=1)
    darker = [*frames[:3], frames[3] // 2, *frames[4:]]
    other, elsewhere = copy.deepcopy(tiny_network), copy.deepcopy(tiny_network)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    elsewhere.metadata = {SOURCE: "0.2", SOURCE_SIDE: "64"}
    for network, pictures, config, difference in (
        (tiny_network, frames, dataclasses.replace(CONFIG, learning_rate=1.0), r"config\.learning_rate was"),
        (tiny_network, frames, dataclasses.replace(CONFIG, short_side=96), r"config\.short_side was 64, now"),
        (tiny_network, frames[:4], CONFIG, r"frames\.4 was .*, now it is missing"),
        (tiny_network, darker, CONFIG, r"frames\.3 was"),
        (tiny_network, frames[::-1], CONFIG, r"frames\.0 was"),
        (other, frames, CONFIG, "weights was"),
        (elsewhere, frames, CONFIG, "source_disagreement was 0.0, now it is 0.2"),
    ):
        with pytest.raises(ValueError, match=f"belongs to another run: {difference}"):
            run(network, pictures, config, tmp_path / "run")
    (tmp_path / "run" / "state.pt").write_bytes(b"cut")
    with pytest.raises(ValueError, match="damaged"):
        run(tiny_network, frames, CONFIG, tmp_path / "run")


def test_frames_in_files_are_known_by_name_and_contents(tiny_network, frames, tmp_path) -> None:
    files = [tmp_path / "frames" / f"{number}.png" for number in range(3)]
    files[0].parent.mkdir()
    for file, frame in zip(files, frames, strict=False):
        Image.fromarray(frame).save(file)
    run(tiny_network, files, CONFIG, tmp_path / "run", stop_after=1)
    identity = json.loads((tmp_path / "run" / "identity.json").read_text())
    (known,) = identity["frames"]["2"].values()
    content = files[2].read_bytes()
    assert known == f"{len(content)} bytes, CRC-32 {zlib.crc32(content):08x}"
    files[0].parent.rename(tmp_path / "moved")
    files = [tmp_path / "moved" / file.name for file in files]
    run(tiny_network, files, CONFIG, tmp_path / "run", stop_after=1)
    Image.fromarray(frames[4]).save(files[1])
    with pytest.raises(ValueError, match=r"frames\.1\.1\.png was"):
        run(tiny_network, files, CONFIG, tmp_path / "run")


def test_several_processes_are_refused(tiny_network, frames, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(ValueError, match="one process"):
        run(tiny_network, frames, CONFIG, tmp_path)


def test_of_a_damaged_clip_the_whole_frames_are_used_with_a_warning(make_clip, tmp_path) -> None:
    rng = np.random.default_rng(0)
    clip = make_clip("a.mkv", [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(40)])
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"a\.mkv: (cut short|unreadable)"):
        frames = find_frames(clip, tmp_path, 64)
    assert 10 < len(frames) < 35


def test_mistakes_are_named(tiny_network, tmp_path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        run(tiny_network, [], CONFIG, tmp_path)
    with pytest.raises(ValueError, match="trimap"):
        run(MODNet(backbone="mobilenetv3_small_050", trimap_input=True), [1], CONFIG, tmp_path)
    with pytest.raises(ValueError, match="'paper' or 'released'"):
        AdaptationConfig("mine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        AdaptationConfig(epochs=0)
    with pytest.raises(FileNotFoundError, match="no video, no folder"):
        find_frames(tmp_path / "nothing", tmp_path, 64)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4 is empty, damaged, cut short or no video"):
        find_frames(tmp_path / "text.mp4", tmp_path / "frames", 64)


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_frames_come_from_videos_and_folders(tmp_path, monkeypatch) -> None:
    pictures = [np.full((96, 128, 3), 20 * k, np.uint8) for k in range(10)]
    write_video(tmp_path / "clip.mp4", pictures)
    decoded = find_frames(tmp_path / "clip.mp4", tmp_path / "frames", 64)
    assert len(decoded) == 10
    values = [np.asarray(Image.open(file)) for file in decoded]
    assert {value.shape for value in values} == {(64, 64, 3)}  # 64 x 85, in multiples of 32
    np.testing.assert_allclose([value.mean() for value in values], [20 * k for k in range(10)], atol=4)
    few = find_frames(tmp_path / "clip.mp4", tmp_path / "frames", 64, count=4)
    assert few == [decoded[k] for k in (0, 3, 6, 9)]
    assert find_frames(decoded[0].parent, tmp_path / "unused", 64) == decoded
    assert not (tmp_path / "unused").exists()
    written = decoded[0].stat().st_mtime_ns
    find_frames(tmp_path / "clip.mp4", tmp_path / "frames", 64)
    assert decoded[0].stat().st_mtime_ns == written, "a decoded clip is not decoded again"


def test_another_video_or_size_has_frames_of_its_own(tmp_path) -> None:
    folder = tmp_path / "frames"
    for name, level, count in (("long", 50, 6), ("short", 150, 2)):
        write_video(tmp_path / f"{name}.mp4", [np.full((64, 64, 3), level, np.uint8)] * count)
    assert len(find_frames(tmp_path / "long.mp4", folder, 64)) == 6
    found = find_frames(tmp_path / "short.mp4", folder, 64)
    assert len(found) == 2
    np.testing.assert_allclose([np.asarray(Image.open(file)).mean() for file in found], 150, atol=4)
    assert {Image.open(file).size for file in find_frames(tmp_path / "short.mp4", folder, 96)} == {(96, 96)}


def test_norms_of_other_backbones_are_frozen_too() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.BatchNorm2d(4))

    network = Other()
    assert [p.ndim for p in trainable(network)] == [4, 1]  # type: ignore[arg-type]
    assert len(trainable(network, freeze_affine=False)) == 8  # type: ignore[arg-type]
