"""Which device is meant, what float32 means there, and shrinking by any factor."""

from __future__ import annotations

import ast
import io
import math
import re
import runpy
import warnings

import pytest
import torch
import torch.nn.functional as F
from typer import Typer
from typer.core import TyperGroup
from typer.main import get_command

from modnet_lib import paths
from modnet_lib.cli import app
from modnet_lib.data import compositing
from modnet_lib.devices import choose_device, resize
from modnet_lib.profiles import Profile

GPU_TODO = paths.REPOSITORY / "benchmarks" / "GPU_TODO.md"


@pytest.fixture
def two_gpus(monkeypatch):
    """What torch says where there are two, and its settings afterwards as they were."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_each_process_of_a_launcher_takes_its_gpu(two_gpus, monkeypatch) -> None:
    # with its number, as that is where a network says that it is
    assert choose_device() == choose_device("cuda") == torch.device("cuda:0")
    for rank, own in (("0", "cuda:0"), ("1", "cuda:1"), ("2", "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert choose_device() == choose_device("cuda") == torch.device(own)
        assert choose_device("cuda:1") == torch.device("cuda:1")
        assert choose_device("cpu") == torch.device("cpu")


def test_float32_is_float32_on_a_gpu(two_gpus) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    choose_device("cpu")
    assert torch.backends.cudnn.allow_tf32, "nothing is changed before a GPU is used"
    with warnings.catch_warnings(action="error"):
        choose_device()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    # the newer setting makes this fail in the same process
    program = torch.export.export(torch.nn.Conv2d(1, 1, 3), (torch.rand(1, 1, 8, 8),))
    torch.export.save(program, io.BytesIO())


def waves(side: int) -> torch.Tensor:
    """(1, 1, side, side) in [0, 1] that varies slowly."""
    at = torch.arange(side, dtype=torch.float32) / side
    return (0.5 + 0.5 * torch.outer(torch.cos(3 * math.pi * at), torch.sin(2 * math.pi * at + 0.4)))[None, None]


@pytest.mark.parametrize("factor", [1, 2, 7.3, 32])
def test_up_to_32_times_one_step_decides_every_bit(factor) -> None:
    x, size = torch.rand(1, 3, 320, 256), (round(320 / factor), round(256 / factor))
    assert torch.equal(resize(x, *size), F.interpolate(x, size, mode="bilinear", antialias=True))


def test_a_hundredfold_shrink_is_the_mean_of_each_area() -> None:
    picture = waves(3000)
    exact, small = F.avg_pool2d(picture, 100), resize(picture, 30, 30)
    # the triangle is wider than the area, which takes 1.3 % from these waves, and more at the border, where it is cut
    assert (small - exact)[..., 1:-1, 1:-1].abs().max() < 0.01
    assert (small - exact).abs().max() < 0.03
    whole = F.interpolate(picture, (30, 30), mode="bilinear", antialias=True)
    assert (small - whole).abs().max() < 2e-3
    noise = torch.rand(1, 1, 3000, 3000)
    assert (resize(noise, 30, 30) - 0.5).abs().max() < 0.02, "it averages, it does not pick"


def test_steps_depend_on_each_axis_alone() -> None:
    x = torch.rand(1, 1, 4000, 40)
    assert torch.equal(resize(x, 20, 40), resize(resize(x, 640, 40), 20, 40))
    assert resize(torch.full((1, 1, 40_000, 3), 0.25), 2, 3).sub(0.25).abs().max() < 1e-6


def test_crops_shrink_by_any_factor_too() -> None:
    picture = (waves(3000)[0, 0, ..., None] * 255).round().byte()
    exact = F.avg_pool2d(picture.permute(2, 0, 1)[None].float(), 100)[0, 0]
    small = compositing.resize(picture, 30)[..., 0]
    assert small.dtype == torch.uint8
    assert (small - exact).abs().max() < 0.03 * 255


@pytest.mark.parametrize("source", sorted((paths.NOTEBOOKS / "src").glob("*.py")), ids=lambda path: path.stem)
def test_notebooks_compute_where_their_profile_says(source) -> None:
    """So that smoke is the same everywhere."""
    calls = [node for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        name = ast.unparse(call.func)
        if name in ("Matter", "adapt") or name.endswith((".from_pretrained", ".Trainer", "open_model")):
            assert "device" in {option.arg for option in call.keywords}, ast.unparse(call)


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", GPU_TODO.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("#")]


def test_every_test_that_needs_a_gpu_waits_in_the_list() -> None:
    marked = {
        f"{file.relative_to(paths.REPOSITORY).as_posix()}::{name}"
        for file in (paths.REPOSITORY / "tests").rglob("test_*.py")
        for name in re.findall(r"@pytest\.mark\.gpu\n(?:@.*\n)*def (\w+)", file.read_text(encoding="utf-8"))
    }
    assert marked == {line.split()[-1] for line in commands() if "pytest" in line}


@pytest.mark.parametrize("line", [line for line in commands() if "pytest" not in line])
def test_commands_that_wait_for_a_gpu_can_be_called(line, monkeypatch) -> None:
    program, *arguments = line.split()
    if program == "make":
        target, profile = arguments
        assert f"\n{target}: " in (paths.REPOSITORY / "Makefile").read_text(encoding="utf-8")
        assert Profile.load(profile.removeprefix("PROFILE="))
        return
    if arguments[:2] == ["-m", "modnet_lib.cli"]:
        program, *arguments = ["modnet", *arguments[2:]]
    chosen = app
    if program == "python":
        monkeypatch.syspath_prepend(str(paths.REPOSITORY / "benchmarks"))
        module = runpy.run_path(str(paths.REPOSITORY / arguments.pop(0)))
        chosen = module.get("app") or Typer()
        if "app" not in module:
            chosen.command()(module["main"])
    command = get_command(chosen)
    if isinstance(command, TyperGroup):
        command = command.commands[arguments.pop(0)]
    command.make_context("", arguments)  # an unknown option or a missing argument is an error
