"""What the notebooks' cells do with networks and tensors is tested here on a second device, or stays on one device."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_functions import CASES

from modnet_lib import paths

SOURCES = {file.stem[:2]: file for file in sorted((paths.REPOSITORY / "notebooks" / "src").glob("[0-9]*.py"))}
TAKES_TENSORS = re.compile(r"Tensor|\bModule\b|MODNet|Segmenter|Baseline|Matter\b|Batch\b")
# where library functions that are called with networks and tensors are tested, besides `CASES`
TESTED = {
    "test_networks.py": {"AlphaOnly", "deploy", "EfficientASPP.forward", "Segmenter.forward", "random_inputs"},
    "test_inference.py": {"Matter", "Method", "Matter.from_pretrained", "export_onnx", "matte_video", "run_benchmark"},
    "test_steps.py": {"Trainer", "Trainer.terms", "Trainer.update", "adapt", "assemble", "soc_terms", "freeze_norms"},
    "test_functions.py": {"checkerboard", "error_map", "finest", "image_row", "over_colour", "tint_trimap", "to_array"},
}
# reads or builds only, or gets what a function above is given
ASIDE = {"MattingBatch", "MattingOutput", "MatteInspector", "band_size"}
ASIDE |= {"count_flops", "count_parameters", "report", "trainable", "with_semantic_head"}
# calls of networks in cells. On one device for certain: what `Matter` holds is asked on its device, and what
# notebook 03 trains is given a batch there. All others stay on the CPU, with what a cell made of arrays.
CALLS = {
    "00": {"matter.network(torch.zeros(1, 3, 64, 64, device=matter.device))"},
    "02": {
        *("detail(picture, low, top)", "easpp(x)", "easpp.scales[0](easpp.reduce(x))"),
        *("lateral([*low[1:], top][level])", "layer(torch.ones(1, 1, size, size))", "layer(x)"),
        *("library(images.to_tensor(astronaut), auxiliary=True)", "library(images.to_tensor(photo))"),
        *("library.semantic_branch.backbone(picture)", "library.semantic_branch.context(x)", "look(x)"),
        *("mix(look(x))", "modnet(images.to_tensor(photo))", "modnet.train()(image)"),
        *("net(images.to_tensor(drawn.image), auxiliary=True)", "project(enlarge(tall, 32))"),
        *("project(tall)", "pyramid(picture)", "scale(x)", "self.backbone(image)", "self.context(top)"),
        *("self.head(self.fuse(torch.cat((detail, top), dim=1)))", "self.head(top)", "self.head(x)"),
        *("semantic(images.to_tensor(hopper) * 2 - 1)", "semantic(picture)"),
    },
    "03": {
        *("segmenter(batch.image)", "segmenter.backbone(batch.image * 2 - 1)", "tuned.eval()(batch.image)"),
        *("model(batch.image)", "head(features)", "heads[-1](maps[-1])"),
    },
    "04": {"module(torch.rand(4, 64, side, side))", "model(torch.rand(2, 3, 64, 64))"},
    "06": {
        *(
            "branch(x)",
            "built(image)",
            "network(**inputs)",
            "network.backbone(x)",
            "ours(features)",
            "theirs(features)",
        ),
        "readers.benchmark('samples')['spm_003']()",
    },
    "07": {
        *("frozen(image, auxiliary=True)", "model(image, auxiliary=True)"),
        "model(images.to_tensor(frame), auxiliary=True)",
    },
    "09": {"convolution(x)", "norm(convolution(x))", "one(x)"},
}
# calls of values that are no networks
OTHERS = re.compile(
    r"prepare\(|watch\(|alpha\(shot, plate\)|"
    r"draw\(|read\(|people\[|jitter\(|.*readers\[|change\(|measure\(|type\(part\)|.*METRICS\[|filtering\(|.*FILTERS\[|use\(|filters\["
)


def imports(tree: ast.Module) -> dict[str, Any]:
    """What a notebook imports from the library, by the name that it has there."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("modnet_lib"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def used(tree: ast.Module) -> Iterator[Any]:
    """The library's functions and classes that a notebook names, also as attributes of others."""
    known = imports(tree)
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        first, *rest = text.split(".")
        thing = known.get(first)
        for part in rest:
            thing = getattr(thing, part, None)
        if callable(thing) and str(getattr(thing, "__module__", "")).startswith("modnet_lib"):
            yield thing


def takes_tensors(thing: Any) -> bool:
    parameters = inspect.signature(thing).parameters.values()
    given = " ".join(str(one.annotation) for one in parameters if one.name != "self")
    return bool(TAKES_TENSORS.search(given)) or thing.__module__.startswith("modnet_lib.objectives")


def calls_of_values(tree: ast.Module) -> set[str]:
    """Calls of what is no import, no definition of the notebook, no builtin and no method."""
    fixed, found = set(dir(builtins)), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            fixed |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            fixed.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called, by_name = node.func, isinstance(node.func, ast.Name) and node.func.id not in fixed
            part = isinstance(called, ast.Attribute) and called.attr in ("network", "backbone", "context", "head")
            if by_name or part or not isinstance(called, ast.Name | ast.Attribute):
                found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize("number", SOURCES)
def test_functions_that_cells_give_tensors_to_are_tested(number) -> None:
    tree = ast.parse(SOURCES[number].read_text(encoding="utf-8"))
    known = ASIDE.union(*TESTED.values())
    new = {one.__qualname__ for one in used(tree) if takes_tensors(one) and one not in CASES} - known
    assert not new, "test them on a second device, and say where in TESTED"


def test_they_are_tested_where_the_list_says() -> None:
    for file, names in TESTED.items():
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        assert [name for name in names if name.split(".")[0] not in text] == [], file


@pytest.mark.parametrize("number", SOURCES)
def test_networks_that_cells_call_are_known(number) -> None:
    found = calls_of_values(ast.parse(SOURCES[number].read_text(encoding="utf-8")))
    assert {call for call in found if not OTHERS.match(call)} == CALLS.get(number, set())


def test_a_new_call_in_a_cell_is_found() -> None:
    cell = (
        "from modnet_lib.network import layers\nfrom modnet_lib.inference import Matter\nm = Matter.from_pretrained()\n"
    )
    tree = ast.parse(cell + "m.network(torch.zeros(1))\nlayers.concat(a, b)\nn = m.network\nn(x)")
    assert calls_of_values(tree) == {"m.network(torch.zeros(1))", "n(x)"}
    assert {"concat", "Matter", "Matter.from_pretrained"} == {thing.__qualname__ for thing in used(tree)}
