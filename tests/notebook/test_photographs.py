"""The photographs of the notebooks, and what setting them in motion does."""

import numpy as np
import torch
from PIL import Image

from modnet_lib.baselines import create_baseline, load_network
from modnet_lib.data.manifest import manifest
from modnet_lib.data.sets import drawn_people
from modnet_lib.images import cover, read_image, to_bytes
from modnet_lib.inference import Matter
from modnet_lib.network import MODNet, save_checkpoint
from modnet_lib.notebook.portraits import draw, draw_gallery, portraits, set_in_motion
from modnet_lib.profiles import DataConfig


def test_three_photographs_ship():
    found = portraits(DataConfig())
    assert [one.shape for one in found.values()] == [(600, 512, 3), (512, 512, 3), (512, 512, 3)]
    assert all(one.dtype == np.uint8 for one in found.values())
    grey = found["camera man"]
    assert (grey[..., 0] == grey[..., 2]).all()


def test_with_real_data_people_are_held_out_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("MODNET_DATA", str(tmp_path))
    held_out = manifest()["people"]["validation_ids"][0]
    for number, name in enumerate((held_out, "someone")):
        for part, mode in (("image", "RGB"), ("alpha", "L")):
            (tmp_path / "people" / part).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (8, 6), "white" if number else "black").save(tmp_path / "people" / part / f"{name}.png")
    found = portraits(DataConfig(real=True, foregrounds=("people",)))
    assert list(found) == [held_out] and found[held_out].shape == (6, 8, 3) and not found[held_out].any()


def disc(size: int = 120) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.clip(30 - np.hypot(rows - 60, columns - 60), 0, 1).astype(np.float32)


def centre(matte: np.ndarray) -> np.ndarray:
    return np.argwhere(matte > 0.5).mean(axis=0)


def test_the_matte_moves_with_the_photograph():
    alpha = disc()
    film, mattes = set_in_motion(np.dstack([alpha * 200] * 3).astype(np.uint8), alpha, 10, grain=0)
    assert film.shape == (10, 120, 120, 3) and mattes.shape == (10, 120, 120)
    lights = [frame[matte == 1].mean() / 200 for frame, matte in zip(film[..., 0], mattes, strict=True)]
    assert 0.85 < min(lights) < 0.95 and 1.05 < max(lights) < 1.15
    for frame, matte, light in zip(film[..., 0].astype(float), mattes, lights, strict=True):
        assert np.abs(frame / (200 * light) - matte).max() < 0.02
    assert (np.ptp([centre(matte) for matte in mattes], axis=0) > 0.3).all(), "across and down"
    slow, fast = (
        np.ptp([centre(m) for m in set_in_motion(film[0], alpha, 10, speed=s)[1]], axis=0).sum() for s in (1, 4)
    )
    assert fast > 2 * slow


def test_nothing_of_the_border_is_seen():
    for seed in range(20):
        mattes = set_in_motion(np.zeros((80, 80, 3), np.uint8), np.pad(np.ones((78, 78)), 1), 12, seed=seed)[1]
        assert mattes.min() == 1


def test_grain_and_seed():
    image, alpha = np.full((80, 80, 3), 128, np.uint8), disc(80)
    first, again, other = (set_in_motion(image, alpha, 3, seed=seed, grain=6)[0] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert 5 < first[0].astype(float).std() < 7


def test_the_gallery_has_a_line_for_each_picture_and_a_column_for_each_network(tmp_path) -> None:
    torch.manual_seed(0)
    for name, network in (("modnet", MODNet()), ("shm", create_baseline("shm"))):
        save_checkpoint(network.eval(), tmp_path / f"{name}.safetensors")
    checkpoints = [tmp_path / "modnet.safetensors", tmp_path / "shm.safetensors"]
    draw_gallery(tmp_path / "mattes.jpg", checkpoints, "cpu", tile=96)
    sheet = read_image(tmp_path / "mattes.jpg").astype(float)
    assert sheet.shape == (5 * 96, 4 * 96, 3)  # three photographs and two drawn people; picture, two mattes, truth
    tiles = sheet.reshape(5, 96, 4, 96, 3).swapaxes(1, 2)
    drawn = drawn_people(1, "validation").readers[0]()
    for column, checkpoint in enumerate(checkpoints, 1):
        alpha = Matter(load_network(checkpoint), device="cpu").alpha(drawn.image)
        expected = cover(np.dstack([to_bytes(alpha)] * 3), 96, 96)
        assert np.abs(tiles[3, column] - expected).mean() < 4
    assert np.abs(tiles[3, 0] - cover(drawn.image, 96, 96)).mean() < 8
    assert np.abs(tiles[3, 3, ..., 0] - cover(np.dstack([drawn.alpha] * 3), 96, 96)[..., 0]).mean() < 4
    assert np.abs(tiles[:3, 3] - 127).max() < 4, "grey: the truth of the photographs is not known"


def test_the_drawing_program_writes_where_it_is_told(tmp_path) -> None:
    folder = draw("scenes 1", tmp_path / "drawn", "--size", 64)
    [file] = [one for one in folder.rglob("*") if one.is_file()]
    assert folder == tmp_path / "drawn" and read_image(file).shape == (64, 64, 3)
    before = file.stat().st_mtime_ns
    draw("scenes 1", tmp_path / "drawn", "--size", 64)
    assert file.stat().st_mtime_ns == before, "what is there is kept"
