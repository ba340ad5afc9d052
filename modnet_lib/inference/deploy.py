"""Faster ways to run a network: norms folded into convolutions, less work at full size, compiled, CUDA graphs."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modnet_lib.network import MODNet, Segmenter
from modnet_lib.network.layers import Block, concat
from modnet_lib.network.released import ReleasedSemantic

Backend = Literal["auto", "eager", "fused", "compiled", "cudagraphs", "onnxruntime"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class FusedBlock(nn.Module):
    """A block of convolution, norm and ReLU with the batch norm inside the convolution.

    What is left of an IBNorm is an affine map whose two numbers a channel come from the picture for the instance norm's
    half, and are 1 and 0 for the other: one pass. Of several maps, those with an odd number of channels, such as the
    image, get a convolution of their own: vector units want multiples of eight. With `whole` they do not, so that the
    weights stay one constant, as quantisation wants them.
    """

    def __init__(self, block: Block, whole: bool = False):
        super().__init__()
        self.whole = whole
        parts: list[Any] = [copy.deepcopy(part).requires_grad_(False) for part in block]
        self.convolution, norm, _ = parts
        self.first: int | None = None
        if isinstance(norm, nn.BatchNorm2d):
            self.convolution = fuse_conv_bn_eval(self.convolution, norm)
            return
        self.first, self.eps, known = norm.split[0], norm.instance_norm.eps, norm.batch_norm
        scale = known.weight * torch.rsqrt(known.running_var + known.eps)
        weight, bias = self.convolution.weight, self.convolution.bias
        weight[: self.first] *= scale.reshape(-1, 1, 1, 1)
        mine = (bias[: self.first] - known.running_mean) * scale + known.bias
        bias[:] = F.pad(mine, (0, norm.split[1]))  # the instance norm would remove its half's

    def forward(self, *parts: Tensor) -> Tensor:
        """Like `Block.forward`."""
        x = self._convolve(parts)
        return F.relu(x, inplace=True) if self.first is None else self._normalise(x, self.first)

    def _convolve(self, parts: tuple[Tensor, ...]) -> Tensor:
        layer: Any = self.convolution
        if self.whole or len(parts) == 1:
            return layer(concat(*parts))
        weights = layer.weight.split([part.shape[1] for part in parts], dim=1)
        pairs = list(zip(parts, weights, strict=True))
        maps, kernels = zip(*(pair for pair in pairs if pair[0].shape[1] % 8 == 0), strict=True)
        x = F.conv2d(concat(*maps), torch.cat(kernels, dim=1), layer.bias, layer.stride, layer.padding)
        for part, kernel in pairs:
            if part.shape[1] % 8:
                x = x + F.conv2d(part.to(x.dtype), kernel, None, layer.stride, layer.padding)
        return x

    def _normalise(self, x: Tensor, first: int) -> Tensor:
        half = x[:, first:].float()  # statistics want more digits than half precision has
        mean = half.mean(dim=(2, 3), keepdim=True)
        variance = half.square().mean(dim=(2, 3), keepdim=True) - mean.square()
        scale = F.pad(torch.rsqrt(variance.clamp(min=0) + self.eps), (0, 0, 0, 0, first, 0), value=1.0)
        shift = F.pad(-mean, (0, 0, 0, 0, first, 0)) * scale
        if x.dtype != torch.float32 and len(x) == 1:  # PyTorch broadcasts slowly in half precision
            none, one = torch.zeros_like(scale).flatten(), torch.ones_like(scale).flatten()
            return F.batch_norm(x, none, one, scale.flatten(), shift.flatten(), eps=0).relu_()
        return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype)).relu_()


class EnlargingConvolution(nn.Module):
    """Bilinear enlargement by two and a k x k convolution, in the other order; the same result, borders too.

    Both are linear and one works on pixels only, the other, tap by tap, on channels only. So each tap is a 1 x 1
    convolution of the small map; its few results are then enlarged, shifted and added. With c_in much larger than
    c_out this saves almost three quarters of the FLOPs. The convolution has stride 1, zero padding that keeps the size,
    a bias, and an odd square kernel.
    """

    def __init__(self, convolution: Any):
        super().__init__()
        c_out, c_in, self.k, _ = convolution.weight.shape
        self.taps = nn.Conv2d(c_in, self.k**2 * c_out, 1, bias=False)
        taps = convolution.weight.detach().permute(2, 3, 0, 1)  # row, column, out, in
        self.taps.weight = nn.Parameter(taps.reshape(-1, c_in, 1, 1).contiguous())
        self.bias = nn.Parameter(convolution.bias.detach().reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) to (N, c_out, 2 H, 2 W)."""
        height, width = x.shape[-2:]
        pad = self.k // 2
        x = self.taps(x)
        x = F.interpolate(x, size=(2 * height, width), mode="bilinear", align_corners=False)
        rows = F.pad(x, (0, 0, pad, pad)).unflatten(1, (self.k, -1)).unbind(1)
        x = torch.stack([row[..., tap : tap + 2 * height, :] for tap, row in enumerate(rows)]).sum(0)
        x = F.interpolate(x, size=(2 * height, 2 * width), mode="bilinear", align_corners=False)
        columns = F.pad(x, (pad, pad)).unflatten(1, (self.k, -1)).unbind(1)
        shifted = [column[..., tap : tap + 2 * width] for tap, column in enumerate(columns)]
        return torch.stack(shifted).sum(0) + self.bias


class AlphaOnly(nn.Module):
    """Image in, matte out, and nothing else: what is compiled and exported."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W), RGB in [0, 1], to (N, 1, H, W)."""
        return self.network(image).alpha


def deploy(network: MODNet | Segmenter, *, whole: bool = False) -> MODNet | Segmenter:
    """Copy a network into a form that computes the same answers with less work; it cannot be trained.

    Every batch norm that follows a convolution is folded into it, IBNorm becomes one affine pass, and the released
    network's widest convolution, which reads an enlarged map, runs before the enlargement. Exact but for rounding.
    Norms of timm backbones outside a `torch.nn.Sequential` stay. So does the normalisation of the input: a zero of the
    padding means mid-grey, so folding it would need copies of the image with a grey border, to save 0.1 of 209 ms.
    """
    result = copy.deepcopy(network).eval()
    for parent in list(result.modules()):
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if isinstance(child, Block):
                setattr(parent, name, FusedBlock(child, whole))
        for (place, convolution), (after, norm) in pairwise(children):
            is_pair = type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d
            if is_pair and isinstance(parent, nn.Sequential) and not isinstance(parent, Block):
                setattr(parent, place, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, after, nn.Identity())
    semantic = getattr(result, "semantic_branch", None)
    if isinstance(semantic, ReleasedSemantic):
        block: Any = semantic.decode16
        block.convolution = EnlargingConvolution(block.convolution)
        semantic.add_module("enlarge", nn.Identity())
    return result.requires_grad_(False)


def make_backend(
    network: Any, backend: Backend, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The module that answers everything, and a function from pictures to mattes.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    backend
        ``"eager"``: the network as it is. ``"fused"``: the result of `deploy`, in the memory layout that its
        convolutions want; ``"auto"`` means this. ``"compiled"``: that through torch.compile, which needs a C++
        compiler and half a minute for each new size of picture. ``"cudagraphs"``: that as CUDA graphs, one a size.
        ``"onnxruntime"`` is checked here and runs through `modnet_lib.inference.export.onnx_session`.
    device, dtype
        Where and in which type to compute; pictures come in and mattes go out as float32.

    Returns
    -------
    The module, `network` itself if eager; and a function (N, 3, H, W) to (N, 1, H, W).
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if dtype not in DTYPES.values():
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype}")
    is_ours, is_plain = isinstance(network, MODNet | Segmenter), dtype == torch.float32
    on_cpu = isinstance(network, MODNet) and device.type == "cpu" and is_plain
    fits = {"cudagraphs": device.type == "cuda", "onnxruntime": on_cpu}.get(backend, True)
    if not (fits and (is_ours or (backend in ("eager", "auto") and is_plain))):
        raise ValueError(
            f"{backend} does not fit {type(network).__name__} on {device} in {dtype}: cudagraphs needs an NVIDIA GPU, "
            "onnxruntime a MODNet on the CPU in float32, and methods other than MODNet need eager and float32"
        )
    is_eager = backend == "eager" or not is_ours
    # channels last: half of the time on a CPU, and what tensor cores read
    layout: Any = torch.contiguous_format if is_eager else torch.channels_last
    module = network
    if not (is_eager and is_plain):
        module = deploy(network).to(dtype, memory_format=layout)  # type: ignore[call-overload]
    answer: Callable[[Tensor], Tensor] = AlphaOnly(module)
    compilers: dict[str, Any] = {"compiled": {"options": {"freezing": True}}, "cudagraphs": {"backend": "cudagraphs"}}
    if backend in compilers:
        answer = in_one_thread(partial(torch.compile, answer, dynamic=False, **compilers[backend]), device)
    return module, lambda image: answer(image.to(dtype, memory_format=layout)).float()


def in_one_thread(make: Callable[[], Any], device: torch.device) -> Callable[[Tensor], Tensor]:
    """What `make` returns, made and called in one thread whoever calls it: CUDA graphs belong to one."""
    options: dict[str, Any] = {"initializer": torch.cuda.set_device, "initargs": (device,)}
    thread = ThreadPoolExecutor(1, **options if device.type == "cuda" else {})
    function = thread.submit(make).result()

    @torch.inference_mode()  # of this thread
    def call(image: Tensor) -> Tensor:
        return function(image).clone()  # the next call overwrites a graph's output

    return lambda image: thread.submit(call, image).result()
