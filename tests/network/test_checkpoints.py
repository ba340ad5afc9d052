"""Checkpoints: round trips, atomic writing, refusal of damaged and foreign files."""

from __future__ import annotations

import copy
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from modnet_lib.files import write_atomically
from modnet_lib.network import MODNet, checkpoints, load_checkpoint, save_checkpoint
from modnet_lib.network.checkpoints import weights_fingerprint

TINY = "mobilenetv3_small_050"


@pytest.mark.parametrize(
    "arguments",
    [{"variant": "paper", "context": "none"}, {"variant": "paper", "trimap_input": True}, {"variant": "released"}],
)
def test_single_precision_round_trip_is_exact(arguments, tmp_path, randomise) -> None:
    network = randomise(MODNet(backbone=TINY, **arguments))
    save_checkpoint(network, tmp_path / "new" / "n.safetensors", metadata={"recipe": "mine"})
    loaded = load_checkpoint(tmp_path / "new" / "n.safetensors")
    assert loaded.config == network.config
    assert not loaded.training
    expected, state = network.state_dict(), loaded.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    with safe_open(tmp_path / "new" / "n.safetensors", "pt") as file:
        header = file.metadata()
    assert header["recipe"] == "mine"
    assert json.loads(header["modnet"]) == network.config


def test_channels_last_weights_can_be_saved(tmp_path) -> None:
    network = MODNet(backbone=TINY).to(memory_format=torch.channels_last)
    save_checkpoint(network, tmp_path / "n.safetensors")
    state = load_checkpoint(tmp_path / "n.safetensors").state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_another_suffix_is_refused(tiny_network, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"\.safetensors"):
        save_checkpoint(tiny_network, tmp_path / "n.ckpt")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tiny_network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "n.safetensors"
    save_checkpoint(tiny_network, path)
    before = path.read_bytes()

    def fail(_state, temporary, _header):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(MODNet(backbone=TINY), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_target_changes_only_by_renaming(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary) -> None:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert path.parent in temporary.parents  # else the rename would copy

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_flushed_through_a_handle_that_can_write(tmp_path, monkeypatch) -> None:
    fcntl, flushed = pytest.importorskip("fcntl"), []

    def fsync_of_windows(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flushed.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", fsync_of_windows)
    write_atomically(tmp_path / "file", lambda temporary: temporary.write_text("new"))
    assert flushed == [3]


def test_what_torch_writes_is_the_same_every_time(tmp_path) -> None:
    for name in ("a", "b"):
        write_atomically(tmp_path / name, lambda temporary: torch.save({"weight": torch.ones(2)}, temporary))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_longest_name_can_be_written(tmp_path) -> None:
    path = tmp_path / ("n" * 251 + ".txt")
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


class Evil:
    """Unpickling this would create a file."""

    def __init__(self, target: str):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path) -> None:
    target = tmp_path / "written_by_the_checkpoint"
    torch.save({"lr_branch.weight": Evil(str(target))}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"evil\.ckpt is not a readable checkpoint"):
        load_checkpoint(tmp_path / "evil.ckpt")
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_damaged_files_are_named(suffix, tiny_network, tmp_path) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".ckpt":
        torch.save(tiny_network.state_dict(), whole)
    else:
        save_checkpoint(tiny_network, whole)
    content = whole.read_bytes()
    for name, part in {"truncated": content[: len(content) // 2], "empty": b"", "text": b"not a checkpoint"}.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(part)
        with pytest.raises(ValueError, match=f"{name}{suffix} is not a readable checkpoint"):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / f"nowhere{suffix}")


def test_files_of_something_else_are_refused(tiny_network, tmp_path) -> None:
    backbone = tiny_network.semantic_branch.backbone.state_dict()
    save_file(backbone, tmp_path / "backbone.safetensors")
    with pytest.raises(ValueError, match="load_backbone"):
        load_checkpoint(tmp_path / "backbone.safetensors")
    torch.save(backbone, tmp_path / "backbone.pth")
    with pytest.raises(ValueError, match="load_backbone"):
        load_checkpoint(tmp_path / "backbone.pth")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="state dict"):
        load_checkpoint(tmp_path / "list.ckpt")


def test_our_own_files_are_read_strictly(tiny_network, tmp_path) -> None:
    state, header = tiny_network.state_dict(), {"modnet": json.dumps(tiny_network.config)}
    name = "fusion_branch.head.bias"
    for label, changed in {
        "missing": {k: v for k, v in state.items() if k != name},
        "extra": state | {"fusion_branch.other": torch.zeros(1)},
        "shape": state | {name: torch.zeros(3)},
    }.items():
        save_file(changed, tmp_path / f"{label}.safetensors", header)
        with pytest.raises(ValueError, match=f"{label}.safetensors does not fit"):
            load_checkpoint(tmp_path / f"{label}.safetensors")
    for label, text in {
        "future": json.dumps(tiny_network.config | {"new": 1}),
        "variant": json.dumps(tiny_network.config | {"variant": "other"}),
        "header": "{",
        "list": "[]",
    }.items():
        save_file(state, tmp_path / f"{label}.safetensors", {"modnet": text})
        with pytest.raises(ValueError, match=rf"{label}\.safetensors"):
            load_checkpoint(tmp_path / f"{label}.safetensors")


def test_metadata_travels_with_the_network(tiny_network, tmp_path) -> None:
    save_checkpoint(tiny_network, tmp_path / "n.safetensors", metadata={"short_side": "384", "steps": "7"})
    loaded = load_checkpoint(tmp_path / "n.safetensors")
    assert loaded.metadata == {"short_side": "384", "steps": "7"}
    save_checkpoint(loaded, tmp_path / "again.safetensors", metadata={"steps": "8"})
    assert load_checkpoint(tmp_path / "again.safetensors").metadata == {"short_side": "384", "steps": "8"}
    assert tiny_network.metadata == {}


def test_the_fingerprint_of_weights_sees_every_value_name_and_type(tiny_network) -> None:
    before = weights_fingerprint(tiny_network)
    assert weights_fingerprint(copy.deepcopy(tiny_network)) == before
    half = weights_fingerprint(copy.deepcopy(tiny_network).bfloat16())
    with torch.no_grad():
        next(tiny_network.buffers()).flatten()[-1] += 1e-3
    assert len({before, half, weights_fingerprint(tiny_network)}) == 3
