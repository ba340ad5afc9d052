"""Fig. 6: what a method costs, as a whole and part by part."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from modnet_lib.baselines import BASELINES, Baseline, create_baseline
from modnet_lib.network import MODNet
from modnet_lib.network.cost import count_flops, count_parameters, measure_latency

METHODS = ("modnet", "modnet_trimap", *BASELINES)


def create_method(name: str) -> MODNet | Baseline:
    """A method of Fig. 6 with random weights, in evaluation mode: ``modnet``, ``modnet_trimap`` or a baseline."""
    if name.startswith("modnet"):
        return MODNet(trimap_input=name == "modnet_trimap").eval()
    return create_baseline(name).eval()


def random_inputs(network: MODNet | Baseline, size: int, batch: int = 1) -> dict[str, Tensor]:
    """What a method needs, by name: random values of the right shapes."""
    shapes = {
        "image": (batch, 3, size, size),
        "trimap": (batch, 1, size, size),
        "background": (batch, 3, size, size),
        "clip": (batch, 2, 4, size, size),
    }
    needed = (
        network.required if isinstance(network, Baseline) else ("trimap",) * network.config["trimap_input"]
    )
    inputs = {name: torch.rand(shapes[name]) for name in ("image", *needed)}
    if "trimap" in inputs:
        inputs["trimap"] = (inputs["trimap"] * 3).floor() / 2
    return inputs


class _Call(nn.Module):
    """A network behind positional arguments."""

    def __init__(self, network: nn.Module, names: Sequence[str]):
        super().__init__()
        self.network, self.names = network, list(names)

    def forward(self, *values: Tensor) -> Any:
        return self.network(**dict(zip(self.names, values, strict=True)))


def peak_memory(module: nn.Module, *inputs: Tensor) -> int:
    """The most bytes that a forward pass holds at a time, weights and inputs left out."""
    with torch.inference_mode():
        if inputs[0].is_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            module(*inputs)
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - before
        with torch.profiler.profile(profile_memory=True) as profile:
            module(*inputs)
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
        Rounds over all methods, so that a disturbance hits all of them; in each a pass to warm up and two that are
        timed. The device is waited for before each reading of the clock.
    device
        Where.
    show_progress
        Show a bar.

    Returns
    -------
    By method: ``parameters``, ``gflops`` (convolutions and matrix products), ``megabytes`` (the most that
    intermediate results take), ``milliseconds`` (median), ``spread`` (between the first and
    the third quartile of the rounds), and ``parts``, for methods
    of several networks the parameters, GFLOPs and milliseconds of each.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if unknown := set(names) - set(METHODS):
        raise ValueError(f"methods are {', '.join(METHODS)}; got {', '.join(sorted(unknown))}")
    torch.manual_seed(0)
    networks = {name: create_method(name).to(device) for name in names}
    given = {
        name: {key: value.to(device) for key, value in random_inputs(network, size, batch).items()}
        for name, network in networks.items()
    }
    calls = {name: _Call(networks[name], list(given[name])).eval() for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in tqdm(range(repeats), "rounds", disable=not show_progress):
        for name, call in calls.items():
            times[name].append(measure_latency(call, *given[name].values(), repeats=2, warm_up=1).median)
    result = {}
    for name, network in networks.items():
        call, values = calls[name], list(given[name].values())
        low, middle, high = quantiles(times[name], n=4)
        result[name] = {
            "parameters": count_parameters(network),
            "gflops": count_flops(call, *values) / 1e9,
            "megabytes": peak_memory(call, *values) / 2**20,
            "milliseconds": middle,
            "spread": high - low,
            "parts": part_costs(network, given[name], repeats) if isinstance(network, Baseline) else {},
        }
    return result


def part_costs(network: Baseline, inputs: dict[str, Tensor], repeats: int) -> dict[str, dict[str, float]]:
    """Parameters, GFLOPs and milliseconds of each part (`Baseline.modules_of`) within a forward pass."""
    costs = {}
    for part, names in network.modules_of.items():
        modules = [module for name in names for module in _called(network.get_submodule(name))]
        times = []
        with _clocked(modules, inputs["image"].is_cuda) as clock, torch.inference_mode():
            for _ in range(1 + repeats):
                clock["seconds"] = 0.0
                network(**inputs)
                times.append(1000 * clock["seconds"])
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(**inputs)
        counted = counter.get_flop_counts()
        titles = {module: key for key, module in network.named_modules(prefix=type(network).__name__)}
        costs[part] = {
            "parameters": sum(count_parameters(network.get_submodule(name)) for name in names),
            "gflops": sum(sum(counted[titles[module]].values()) for module in modules) / 1e9,
            "milliseconds": median(times[1:]),
        }
    return costs


def _called(module: nn.Module) -> list[nn.Module]:
    """The module, or what a list of modules holds: a list is never called itself."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [inner for child in module.children() for inner in _called(child)]
    return [module]


@contextmanager
def _clocked(modules: Sequence[nn.Module], on_gpu: bool) -> Iterator[dict[str, float]]:
    """A dictionary whose ``seconds`` grow by the time that these modules take."""
    clock: dict[str, float] = defaultdict(float)

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(*_: Any) -> None:
        clock["started"] = now()

    def stop(*_: Any) -> None:
        clock["seconds"] += now() - clock["started"]

    handles = [m.register_forward_pre_hook(start) for m in modules]
    handles += [m.register_forward_hook(stop) for m in modules]
    try:
        yield clock
    finally:
        for handle in handles:
            handle.remove()
