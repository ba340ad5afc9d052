"""Fig. 6: what a method costs, as a whole and part by part."""

import time
from collections.abc import Sequence
from itertools import accumulate
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from modnet_lib.baselines import BASELINES, Baseline, create_baseline, needs
from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_parameters

METHODS = ("modnet", "modnet_trimap", *BASELINES)


def create_method(name: str) -> MODNet | Baseline:
    """A method of Fig. 6 with random weights, in evaluation mode: ``modnet``, ``modnet_trimap`` or a baseline."""
    if name.startswith("modnet"):
        return MODNet(trimap_input=name == "modnet_trimap").eval()
    return create_baseline(name).eval()


def random_inputs(network: MODNet | Baseline, size: int, batch: int = 1) -> dict[str, Tensor]:
    """The inputs of a method by name: random values of the right shapes, on its device."""
    inputs = {
        "image": torch.rand(batch, 3, size, size),
        "trimap": (torch.rand(batch, 1, size, size) * 3).floor() / 2,
        "background": torch.rand(batch, 3, size, size),
        "clip": torch.rand(batch, 2, 4, size, size),
    }
    device = next(network.parameters()).device
    return {name: inputs[name].to(device) for name in ("image", *needs(network))}


def peak_memory(module: nn.Module, **inputs: Tensor) -> int:
    """The most bytes that a forward pass holds at a time, weights and inputs left out."""
    with torch.inference_mode():
        if next(iter(inputs.values())).is_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            module(**inputs)
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - before
        with torch.profiler.profile(profile_memory=True) as profile:
            module(**inputs)
    profiler: Any = profile.profiler
    changes = (event.nbytes() for event in profiler.kineto_results.events() if event.name() == "[memory]")
    return max(accumulate(changes, initial=0))


def efficiency(
    names: Sequence[str] = METHODS, *, size: int = 512, batch: int = 1, repeats: int = 10, device: str = "cpu"
) -> dict[str, dict[str, Any]]:
    """Measure some of `METHODS` side by side on a float32 input of `size` x `size`.

    The methods take turns in `repeats` rounds, so that a disturbance hits all of them.

    Returns
    -------
    By method: ``parameters``, ``gflops`` (convolutions and matrix products), ``megabytes`` (the most that
    intermediate results take), ``milliseconds`` (median), and ``parts``: for methods of several networks the
    parameters, GFLOPs and milliseconds of each.
    """
    torch.manual_seed(0)
    networks = {name: create_method(name).to(device) for name in names}
    given = {name: random_inputs(network, size, batch) for name, network in networks.items()}
    times: dict[str, list[dict[nn.Module, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, network in networks.items():
            times[name].append([_timed(network, given[name]) for _ in range(2)][1])
    return {name: _cost(networks[name], given[name], times[name]) for name in names}


@torch.inference_mode()
def _timed(network: MODNet | Baseline, inputs: dict[str, Tensor]) -> dict[nn.Module, float]:
    """Milliseconds of one forward pass, in the network and in each module of its parts."""
    spent: dict[nn.Module, float] = {}

    def clock(module: nn.Module, sign: int) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        spent[module] = spent.get(module, 0) + sign * 1000 * time.perf_counter()

    handles = []
    for module in (network, *(module for modules in _parts(network).values() for module in modules)):
        handles.append(module.register_forward_pre_hook(lambda module, *_: clock(module, -1)))
        handles.append(module.register_forward_hook(lambda module, *_: clock(module, 1)))
    network(**inputs)
    for handle in handles:
        handle.remove()
    return spent


def _parts(network: MODNet | Baseline) -> dict[str, list[nn.Module]]:
    """The modules of each part; of a list, which is never called itself, what it holds."""

    def called(module: nn.Module) -> list[nn.Module]:
        if not isinstance(module, nn.ModuleList | nn.ModuleDict):
            return [module]
        return [inner for child in module.children() for inner in called(child)]

    parts = network.modules_of.items() if isinstance(network, Baseline) else ()
    return {part: [m for name in names for m in called(network.get_submodule(name))] for part, names in parts}


def _cost(network: MODNet | Baseline, inputs: dict[str, Tensor], times: list[dict[nn.Module, float]]) -> dict[str, Any]:
    titles = {module: title for title, module in network.named_modules(prefix=type(network).__name__)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(**inputs)
    flops = counter.get_flop_counts()

    def row(modules: Sequence[nn.Module]) -> dict[str, Any]:
        return {
            "parameters": sum(map(count_parameters, modules)),
            "gflops": sum(sum(flops[titles[module]].values()) for module in modules) / 1e9,
            "milliseconds": median(sum(one[module] for module in modules) for one in times),
        }

    parts = {part: row(modules) for part, modules in _parts(network).items()}
    return row([network]) | {"megabytes": peak_memory(network, **inputs) / 2**20, "parts": parts}
