"""Matter: any picture in, a matte of its size out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from modnet_lib.images import read_image
from modnet_lib.inference import Matter
from modnet_lib.inference.sizes import MAX_PIXELS, network_size, resize
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


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((512, 512), (512, 512)),
        ((1080, 1920), (512, 896)),  # 910 is floored
        ((1920, 1080), (896, 512)),
        ((300, 300), (512, 512)),  # small pictures are enlarged
        ((256, 384), (512, 768)),
        ((2160, 3840), (512, 896)),
        ((600, 450), (672, 512)),  # 682.67
        ((1, 1), (512, 512)),
    ],
)
def test_network_size_is_the_authors_rule(picture, expected) -> None:
    assert network_size(*picture) == expected


def test_network_size_always_fits_the_network() -> None:
    rng = np.random.default_rng(0)
    cases = [(1, 12_000), (40, 12_000), (12_000, 40), (1, 100_000), (7, 3000), (32, 65_000), (2, 2)]
    cases += [
        tuple(int(x) for x in np.exp(rng.uniform(0, np.log(20_000), 2)).astype(int)) for _ in range(500)
    ]
    for height, width in cases:
        for short_side in (32, 192, 512, 1024):
            h, w = network_size(height, width, short_side)
            assert h % 32 == w % 32 == 0
            assert min(h, w) >= 32
            assert h * w <= MAX_PIXELS
            assert network_size(width, height, short_side) == (w, h)
            scale = short_side / min(height, width)
            if height * width * scale**2 <= MAX_PIXELS:
                assert min(h, w) == short_side
                assert 0 <= max(height, width) * scale - max(h, w) < 32
            elif min(height, width) * math.sqrt(MAX_PIXELS / (height * width)) >= 32:
                # capped: as large as the proportion allows, each side floored
                scale = math.sqrt(MAX_PIXELS / (height * width))
                assert 0 <= height * scale - h < 32
                assert 0 <= width * scale - w < 32


def test_resize_keeps_constants_and_equals_pillow() -> None:
    x = torch.rand(1, 1, 40, 60)
    assert resize(x, 40, 60) is x
    expected = Image.fromarray(x[0, 0].numpy()).resize((15, 10), Image.Resampling.BILINEAR)
    torch.testing.assert_close(
        resize(x, 10, 15)[0, 0], torch.from_numpy(np.array(expected)), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(resize(torch.full((1, 1, 3, 5), 0.3), 64, 32), torch.full((1, 1, 64, 32), 0.3))


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
    cutout = matter.cutout(source, clean=False)
    assert cutout.mode == "RGBA"
    assert cutout.size == source.size
    array = np.asarray(cutout)
    np.testing.assert_array_equal(array[..., :3], read_image(source))
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
    assert not tiny_network.training
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


def test_bad_pictures_are_refused_before_the_network_runs(matter, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        matter.alpha(tmp_path / "gone.jpg")
    with pytest.raises(ValueError, match="no pixels"):
        matter.cutout(np.zeros((0, 3, 3), np.uint8))


def test_a_checkpoint_can_name_its_own_size(tiny_network, tmp_path) -> None:
    file = tmp_path / "n.safetensors"
    save_checkpoint(tiny_network, file, metadata={"short_side": "96"})
    assert Matter.from_pretrained(file).short_side == 96
    assert Matter.from_pretrained(file, short_side=64).short_side == 64
    save_checkpoint(tiny_network, file)
    assert Matter.from_pretrained(file).short_side == 512
