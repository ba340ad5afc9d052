"""A second device on a machine without one.

`FAKE` tensors on "cuda" have shapes and devices but no values: they run forward passes. Tensors on "meta" run backward
and optimisers too, but their operations seldom mind where a tensor lies. `Guard` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from modnet_lib.data.assemble import MattingBatch

COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
TYPES = {torch.float32: np.float32, torch.uint8: np.uint8}
Network = TypeVar("Network", bound=nn.Module)


class FakeMode(FakeTensorMode):
    def __deepcopy__(self, memo: dict) -> FakeMode:
        return self  # a copied tensor is one of this mode


FAKE = FakeMode(allow_non_fake_inputs=False)


class WrongDevice(AssertionError):
    """A tensor is not where it should be, or the processor waits for it."""


class Guard(TorchDispatchMode):
    """Refuse what mixes devices, leaves one, or (unless `uploads`) waits for a copy to it."""

    def __init__(self, uploads: bool = False):
        super().__init__()
        self.uploads = uploads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = {one.device.type for one in tensors((args, kwargs)) if one.ndim or one.device.type != "cpu"}
        result = func(*args, **kwargs)
        made = {one.device.type for one in tensors(result)}
        if func not in COPIES and len(given) > 1:
            raise WrongDevice(f"{func} is given tensors on {' and '.join(sorted(given))}")
        if given - {"cpu"} and "cpu" in made:
            raise WrongDevice(f"{func} leaves the device")
        is_upload = func in COPIES and "cpu" in given and made - {"cpu"}
        if is_upload and not (self.uploads or kwargs.get("non_blocking")):
            raise WrongDevice(f"{func} waits until values have reached the device")
        return result


def tensors(values: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(values, Tensor):
        return [values]
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, tuple | list) else ()
    return [tensor for one in inner for tensor in tensors(one)]


@contextmanager
def second_device(uploads: bool = False) -> Iterator[None]:
    with FAKE, Guard(uploads):
        yield


def build(make: Callable[[], Network]) -> Network:
    """A network on the second device; every tensor in it must be one that `Module.to` moves."""
    with FAKE, torch.device("cuda"):
        network = make()
    for name, module in network.named_modules():
        plain = {k: v for k, v in vars(module).items() if k not in ("_parameters", "_buffers", "_modules")}
        if tensors(plain):
            raise WrongDevice(f"{name or type(module).__name__} has a tensor that is neither parameter nor buffer")
    return network


def fake(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    with FAKE:
        return torch.empty(shape, dtype=dtype, device="cuda")


def batch(size: int = 64, count: int = 2) -> MattingBatch:
    return MattingBatch(*(fake(count, channels, size, size) for channels in (3, 1, 1, 3, 3)))


def check(results: Any, device: str = "cuda") -> None:
    """Every result is on the device, and there is one."""
    found = tensors(results)
    if not found or any(one.device.type != device for one in found):
        raise WrongDevice(f"results are on {[str(one.device) for one in found]}, not on {device}")


def stand_in(read_out: Callable[[Tensor], np.ndarray], seen: list[tuple[int, ...]]) -> Callable[[Tensor], np.ndarray]:
    """`read_out` for tensors without values: one half everywhere. `seen` gets the shapes."""

    def read(tensor: Tensor) -> np.ndarray:
        if tensor.device.type == "cpu":
            return read_out(tensor)
        seen.append(tuple(tensor.shape))
        return np.full(tensor.shape, 0.5).astype(TYPES[tensor.dtype])

    return read


def devices(network: nn.Module) -> set[str]:
    every: Iterable[Tensor] = (*network.parameters(), *network.buffers())
    return {one.device.type for one in every}
