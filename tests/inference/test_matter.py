"""Matter: any picture in, a matte of its size out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.baselines import create_baseline
from modnet_lib.devices import resize
from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import network_size
from modnet_lib.network import MODNet, save_checkpoint

TINY = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def matter() -> Matter:
    torch.manual_seed(6)
    network = MODNet(backbone=TINY)
    with torch.no_grad():  # spread the answers over the whole range
        network.fusion_branch.head.weight.mul_(4)
    return Matter(network, short_side=64, device="cpu")


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((101, 77), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(77, 101), (1, 1), (1, 50), (33, 2), (40, 12_000), (64, 64)])
def test_mattes_have_the_size_of_the_picture(matter, size) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    alpha = Matter(matter.network, short_side=32, device="cpu").alpha(image)
    assert alpha.shape == size
    assert alpha.dtype == np.float32
    assert np.isfinite(alpha).all()
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_alpha_is_the_networks_answer_at_its_size_resized_back(matter, picture) -> None:
    height, width = network_size(77, 101, 64)
    tensor = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        answer = matter.network(resize(tensor, height, width)).alpha
        expected = torch.nn.functional.interpolate(answer, (77, 101), mode="bilinear", antialias=True)
    np.testing.assert_allclose(matter.alpha(picture), expected[0, 0].numpy(), atol=1e-6)
    assert expected.std() > 0.01


def test_path_picture_and_array_give_the_same(matter, picture, tmp_path) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    expected = matter.alpha(picture)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(picture), picture / 255):
        np.testing.assert_array_equal(matter.alpha(source), expected)


def test_orientation_is_applied(matter, picture, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(picture))).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(matter.alpha(tmp_path / "turned.png"), matter.alpha(picture))
    assert matter.cutout(tmp_path / "turned.png").size == (101, 77)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "I;16", "1"])
def test_cutouts_are_the_pictures_colours_with_the_matte(matter, picture, mode) -> None:
    source = Image.fromarray(picture).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        source = Image.fromarray(np.asarray(source).astype(np.uint16) * 257)
    cutout = matter.cutout(source)
    assert cutout.mode == "RGBA"
    assert cutout.size == source.size
    array = np.asarray(cutout)
    sure = array[..., 3] == 255
    np.testing.assert_array_equal(array[sure, :3], read_image(source)[sure])
    np.testing.assert_array_equal(array[..., 3], np.round(matter.alpha(source) * 255).astype(np.uint8))


def test_predict_gives_all_three_and_the_same_alpha(matter, picture) -> None:
    prediction = matter.predict(picture)
    np.testing.assert_array_equal(prediction.alpha, matter.alpha(picture))
    np.testing.assert_array_equal(prediction.image, picture)
    height, width = network_size(77, 101, 64)
    assert prediction.semantic.shape == (height // 16, width // 16)
    assert prediction.detail.shape == (77, 101)
    for part in prediction[1:]:
        assert part.dtype == np.float32
        assert part.min() >= 0
        assert part.max() <= 1
    assert not np.array_equal(prediction.detail, prediction.alpha)


def test_the_network_is_in_evaluation_mode_and_keeps_no_graph(tiny_network, picture) -> None:
    matter = Matter(tiny_network.train(), short_side=64, device="cpu")
    statistics = {k: v.clone() for k, v in tiny_network.state_dict().items()}
    matter.alpha(picture)
    assert not matter.network.training
    assert tiny_network.training, "the caller's mode is the caller's"
    assert all(torch.equal(v, statistics[k]) for k, v in tiny_network.state_dict().items())
    assert all(p.grad is None for p in tiny_network.parameters())


def test_a_checkpoint_is_read(matter, picture, tmp_path) -> None:
    save_checkpoint(matter.network, tmp_path / "n.safetensors")
    loaded = Matter.from_pretrained(tmp_path / "n.safetensors", short_side=64, device="cpu")
    np.testing.assert_allclose(loaded.alpha(picture), matter.alpha(picture), atol=1e-5)  # folded norms
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        Matter.from_pretrained(tmp_path / "gone.safetensors")


def test_networks_and_sizes_that_do_not_fit_are_refused(matter) -> None:
    with pytest.raises(ValueError, match="short_side"):
        Matter(matter.network, short_side=31)


def test_the_callers_network_stays_where_it_is(tiny_network) -> None:
    elsewhere = Matter(tiny_network, short_side=64, device="meta")
    assert next(elsewhere.network.parameters()).device.type == "meta"
    assert next(tiny_network.parameters()).device.type == "cpu"
    shared = Matter(tiny_network, short_side=64, device="cpu").network.parameters()
    assert all(mine is theirs for mine, theirs in zip(shared, tiny_network.parameters(), strict=True))


def test_networks_that_need_more_than_a_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="needs trimap beside the picture"):
        Matter(MODNet(backbone=TINY, trimap_input=True), device="cpu")
    with pytest.raises(ValueError, match="needs background beside"):
        Matter(create_baseline("bm", TINY), device="cpu")
    with pytest.raises(ValueError, match="only MODNet"):
        Matter(create_baseline("hatt", TINY), short_side=64, device="cpu").predict(np.zeros((64, 64, 3), np.uint8))


def test_bad_pictures_are_refused_before_the_network_runs(matter, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        matter.alpha(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="not empty"):
        matter.cutout(np.zeros((0, 3, 3), np.uint8))


def test_a_checkpoint_can_name_its_own_size(tiny_network, tmp_path) -> None:
    file = tmp_path / "n.safetensors"
    save_checkpoint(tiny_network, file, metadata={"short_side": "96"})
    assert Matter.from_pretrained(file).short_side == 96
    assert Matter.from_pretrained(file, short_side=64).short_side == 64
    save_checkpoint(tiny_network, file)
    assert Matter.from_pretrained(file).short_side == 512


def test_every_backend_gives_the_matte(matter, picture) -> None:
    expected = matter.alpha(picture)
    fused = Matter(matter.network, short_side=64, device="cpu", backend="fused")
    np.testing.assert_allclose(fused.alpha(picture), expected, atol=1e-4)
    np.testing.assert_array_equal(fused.predict(picture).alpha, fused.alpha(picture))
    half = Matter(matter.network, short_side=64, device="cpu", backend="fused", dtype=torch.bfloat16)
    assert 0 < np.abs(half.alpha(picture) - expected).mean() < 5e-3
    assert half.alpha(picture).dtype == half.predict(picture).semantic.dtype == np.float32


def test_only_eager_follows_a_network_that_goes_on_training(tiny_network, picture) -> None:
    eager, fused = (Matter(tiny_network, short_side=64, device="cpu", backend=b) for b in ("eager", "fused"))
    before = eager.alpha(picture)
    with torch.no_grad():
        tiny_network.fusion_branch.head.bias.add_(1)
    assert np.abs(eager.alpha(picture) - before).mean() > 0.05
    np.testing.assert_allclose(fused.alpha(picture), before, atol=1e-4)


def test_pictures_of_different_sizes_share_a_batch(matter) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((80, 100), (64, 64), (40, 50), (96, 64))]
    one_by_one = [matter.alpha(picture) for picture in pictures]
    seen = []
    hook = matter.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    together = matter.alphas(pictures, batch_size=2)
    hook.remove()
    for mine, theirs in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    # 80 x 100 and 40 x 50 are both 64 x 64 after flooring, as is the square: two batches of it
    assert sorted(seen) == [(1, 3, 64, 64), (1, 3, 96, 64), (2, 3, 64, 64)]


def test_a_composite_is_eq_1_with_clean_colours(matter, picture) -> None:
    result = np.asarray(matter.composite(picture, "white"))
    cutout = np.asarray(matter.cutout(picture)).astype(float)
    alpha = matter.alpha(picture)[..., None]
    np.testing.assert_allclose(result, alpha * cutout[..., :3] + (1 - alpha) * 255, atol=0.51)
