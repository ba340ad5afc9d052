"""The network in other forms: norms folded into convolutions, compiled, and as an ONNX file."""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modnet_lib import paths
from modnet_lib.devices import resize
from modnet_lib.files import atomic
from modnet_lib.images import ImageLike, read_image, read_out, to_tensor
from modnet_lib.network import MODNet, Segmenter
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.network.layers import Block, concat
from modnet_lib.provenance import fingerprint

Backend = Literal["auto", "eager", "fused", "compiled", "onnxruntime"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCE = 1e-4  # of alpha, for ONNX; a hundredth of what 8 bits can show is 4e-5


class FusedBlock(nn.Module):
    """A block of convolution, batch norm and ReLU with the batch norm inside the convolution.

    Of several maps, those with an odd number of channels, such as the image, get a convolution of their own: vector
    units want multiples of eight. Not in an exported file, so that the weights stay one constant, as quantisation wants
    them.
    """

    def __init__(self, block: Block):
        super().__init__()
        convolution, norm, _ = cast(Any, block)
        self.convolution = fuse_conv_bn_eval(convolution, norm)

    def forward(self, *parts: Tensor) -> Tensor:
        """Like `Block.forward`."""
        return F.relu(self._convolve(parts), inplace=True)

    def _convolve(self, parts: tuple[Tensor, ...]) -> Tensor:
        layer: Any = self.convolution
        if len(parts) == 1 or torch.compiler.is_exporting():
            return layer(concat(*parts))
        weights = layer.weight.split([part.shape[1] for part in parts], dim=1)
        pairs = list(zip(parts, weights, strict=True))
        maps, kernels = zip(*(pair for pair in pairs if pair[0].shape[1] % 8 == 0), strict=True)
        x = F.conv2d(concat(*maps), torch.cat(kernels, dim=1), layer.bias, layer.stride, layer.padding)
        for part, kernel in pairs:
            if part.shape[1] % 8:
                x = x + F.conv2d(part.to(x.dtype), kernel, None, layer.stride, layer.padding)
        return x


class AlphaOnly(nn.Module):
    """Image in, matte out, and nothing else: what is compiled and exported."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W), RGB in [0, 1], to (N, 1, H, W)."""
        return self.network(image).alpha


def deploy(network: MODNet | Segmenter) -> MODNet | Segmenter:
    """Copy a network into a form that computes the same answers with less work; it cannot be trained.

    Every batch norm that follows a convolution is folded into it, exactly but for rounding. Norms of timm backbones
    outside a `torch.nn.Sequential` stay, as do those of the released network outside its backbone, and the
    normalisation of the input: a zero of the padding means mid-grey, so folding it would need a grey border.
    """
    result = copy.deepcopy(network).eval()
    for parent in list(result.modules()):
        children: list[tuple[str, Any]] = list(parent.named_children())
        for name, child in children:
            if isinstance(child, Block) and isinstance(child[1], nn.BatchNorm2d):
                setattr(parent, name, FusedBlock(child))
        for (place, convolution), (after, norm) in pairwise(children):
            is_pair = type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d
            if is_pair and isinstance(parent, nn.Sequential) and not isinstance(parent, Block):
                setattr(parent, place, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, after, nn.Identity())
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
        convolutions want; ``"auto"`` means this, or eager for methods other than MODNet. ``"compiled"``: that through
        torch.compile, which needs a C++ compiler and half a minute for each new size of picture. ``"onnxruntime"``:
        through `export_onnx`, on the CPU; the file is kept in the cache.
    device, dtype
        Where and in which type to compute; pictures come in and mattes go out as float32.

    Returns
    -------
    The module, `network` itself if eager; and a function (N, 3, H, W) to (N, 1, H, W).
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    is_ours, is_plain = isinstance(network, MODNet | Segmenter), dtype == torch.float32
    fits = is_ours or (backend in ("eager", "auto") and is_plain)
    if backend == "onnxruntime":
        fits = isinstance(network, MODNet) and device.type == "cpu" and is_plain
    if not fits:
        raise ValueError(
            f"{backend} does not fit {type(network).__name__} on {device} in {dtype}: onnxruntime needs a MODNet on "
            "the CPU in float32, and methods other than MODNet need eager and float32"
        )
    if backend == "onnxruntime":
        file = paths.CACHE / "onnx" / f"{fingerprint([torch.__version__, weights_fingerprint(network)])}.onnx"
        if not file.is_file():
            export_onnx(network, file)
        return network, _session(file)
    is_eager = backend == "eager" or not is_ours
    # channels last: half of the time on a CPU, and what tensor cores read
    layout: Any = torch.contiguous_format if is_eager else torch.channels_last
    module = network
    if not (is_eager and is_plain):
        module = deploy(network).to(dtype, memory_format=layout)  # type: ignore[call-overload]
    answer: Callable[[Tensor], Tensor] = AlphaOnly(module)
    if backend == "compiled":
        answer = torch.compile(answer, dynamic=False, options={"freezing": True})
    return module, lambda image: answer(image.to(dtype, memory_format=layout)).float()


def export_onnx(
    network: MODNet, path: str | Path, images: Sequence[ImageLike] = (), size: tuple[int, int] | None = None
) -> float:
    """Write the network as ONNX, atomically, if ONNX Runtime gives the same mattes.

    Input ``image``: (N, 3, H, W) float32 RGB in [0, 1], any N, H and W multiples of 32 from 64 on, or `size`. Output
    ``alpha``: (N, 1, H, W). The metadata say so, too, and have ``short_side``, which pictures are brought to.

    Parameters
    ----------
    network, path
        Left as it is; must end in ``.onnx``.
    images
        Real pictures to compare with, at `size` or as squares of the network's own, besides random ones.
    size
        Height and width, for runtimes that want them fixed.

    Returns
    -------
    The largest difference of alpha that was found.

    Raises
    ------
    ValueError
        If that is more than `TOLERANCE`, or as the network's if `size` does not fit or it needs a trimap.
    """
    if Path(path).suffix != ".onnx":
        raise ValueError(f"path must end in .onnx, got {path}")
    network = copy.deepcopy(network).to("cpu").eval()
    side, generator = int(network.metadata.get("short_side", 512)), torch.Generator().manual_seed(0)
    sizes = [(1, 3, *size), (2, 3, *size)] if size else [(1, 3, 64, 96), (3, 3, 160, 128)]
    inputs = [torch.rand(one, generator=generator) for one in sizes]
    inputs += [resize(to_tensor(read_image(one)), *(size or (max(64, side // 32 * 32),) * 2)) for one in images]
    with torch.no_grad(), atomic(path) as file:
        expected = [network(image).alpha for image in inputs]
        # torch's own deprecations are not the caller's business; the exporter prints whatever one asks for
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            _save(network, side, file, size)
        exported = _session(file)
        found = [(exported(image) - alpha).abs().max() for image, alpha in zip(inputs, expected, strict=True)]
        difference = float(read_out(torch.stack(found).max()))
        if not difference <= TOLERANCE:  # also if it is NaN
            raise ValueError(f"{path} was not written: its mattes differ by {difference:.2g} from the network's")
    return difference


def _save(network: MODNet, side: int, file: Path, size: tuple[int, int] | None) -> None:
    height, width = (32 * torch.export.Dim(name, min=2, max=512) for name in ("height32", "width32"))
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    program = torch.onnx.export(
        AlphaOnly(deploy(network)).eval(),
        (torch.rand(2, 3, *(size or (64, 96))),),
        dynamo=True,
        dynamic_shapes={"image": batch if size else batch | {2: height, 3: width}},
        output_names=["alpha"],
        verbose=False,
    )
    assert program is not None
    shape = f"{size[0]} x {size[1]}" if size else "height and width multiples of 32, at least 64"
    program.model.metadata_props.update(
        short_side=str(side),
        image=f"(batch, 3, height, width) float32, RGB from 0 to 1; {shape}",
        alpha="(batch, 1, height, width) float32, the matte from 0 to 1",
    )
    program.save(file)


def _session(file: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    answer: Any = session.run
    return lambda image: torch.from_numpy(answer(None, {"image": read_out(image.contiguous())})[0])
