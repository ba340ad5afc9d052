"""Fig. 6: what a method costs, as a whole and part by part."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

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
    side = (size, size)
    inputs = {
        "image": torch.rand(batch, 3, *side),
        "trimap": (torch.rand(batch, 1, *side) * 3).floor() / 2,
        "background": torch.rand(batch, 3, *side),
        "clip": torch.rand(batch, 2, 4, *side),
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
    held = peak = 0
    profiler: Any = profile.profiler
    for event in profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def efficiency(
    names: Sequence[str] = METHODS,
    *,
    size: int = 512,
    batch: int = 1,
    repeats: int = 10,
    device: str = "cpu",
    show_progress: bool = True,
) -> dict[str, dict[str, Any]]:
    """Measure methods side by side.

    Parameters
    ----------
    names
        Of `METHODS`.
    size, batch
        Of the input, float32.
    repeats
        Rounds over all methods, so that a disturbance hits all of them; each has a pass to warm up and two that are
        timed. The device is waited for before each reading of the clock.
    device
        Where.
    show_progress
        Show a bar.

    Returns
    -------
    By method: ``parameters``, ``gflops`` (convolutions and matrix products), ``megabytes`` (the most that
    intermediate results take), ``milliseconds`` (median), ``spread`` (between the first and the third quartile of the
    rounds), and ``parts``: for methods of several networks the parameters, GFLOPs and milliseconds of each.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if unknown := set(names) - set(METHODS):
        raise ValueError(f"methods are {', '.join(METHODS)}; got {', '.join(sorted(unknown))}")
    torch.manual_seed(0)
    networks = {name: create_method(name).to(device) for name in names}
    given = {name: random_inputs(network, size, batch) for name, network in networks.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in tqdm(range(repeats), "rounds", disable=not show_progress):
        for name, network in networks.items():
            with _clocked([network]) as passes, torch.inference_mode():
                for _ in range(3):
                    network(**given[name])
            times[name].append(median(passes[1:]))
    return {name: _cost(networks[name], given[name], times[name]) for name in names}


def _cost(network: MODNet | Baseline, inputs: dict[str, Tensor], times: Sequence[float]) -> dict[str, Any]:
    low, middle, high = quantiles(times, n=4)
    flops = _flops(network, inputs)
    parts = network.modules_of if isinstance(network, Baseline) else {}
    return {
        "parameters": count_parameters(network),
        "gflops": flops["Global"] / 1e9,
        "megabytes": peak_memory(network, **inputs) / 2**20,
        "milliseconds": middle,
        "spread": high - low,
        "parts": {part: _part(network, names, inputs, flops, len(times)) for part, names in parts.items()},
    }


def _flops(network: nn.Module, inputs: dict[str, Tensor]) -> dict[str, int]:
    """FLOPs of a forward pass within each module, by its name after that of the network's class."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(**inputs)
    counts = counter.get_flop_counts()
    return {name: sum(found.values()) for name, found in counts.items()}


def _part(
    network: nn.Module, names: Sequence[str], inputs: dict[str, Tensor], flops: dict[str, int], repeats: int
) -> dict[str, float]:
    """Parameters, GFLOPs and milliseconds of submodules within a forward pass."""
    modules = [inner for name in names for inner in _called(network.get_submodule(name))]
    titles = {module: title for title, module in network.named_modules(prefix=type(network).__name__)}
    times = []
    with torch.inference_mode():
        for _ in range(1 + repeats):
            with _clocked(modules) as passes:
                network(**inputs)
            times.append(sum(passes))
    return {
        "parameters": sum(count_parameters(network.get_submodule(name)) for name in names),
        "gflops": sum(flops[titles[module]] for module in modules) / 1e9,
        "milliseconds": median(times[1:]),
    }


def _called(module: nn.Module) -> list[nn.Module]:
    """The module, or what a list of modules holds: a list is never called itself."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [inner for child in module.children() for inner in _called(child)]
    return [module]


@contextmanager
def _clocked(modules: Sequence[nn.Module]) -> Iterator[list[float]]:
    """The milliseconds of each call of these modules, none of which is inside another."""
    passes: list[float] = []

    def now() -> float:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return 1000 * time.perf_counter()

    handles = [m.register_forward_pre_hook(lambda *_: passes.append(-now())) for m in modules]
    handles += [m.register_forward_hook(lambda *_: passes.append(passes.pop() + now())) for m in modules]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()
