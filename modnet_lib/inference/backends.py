"""Ways to run the same network: as it is, folded, compiled, as a CUDA graph, in ONNX Runtime."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from modnet_lib import paths
from modnet_lib.inference.deploy import AlphaOnly, deploy
from modnet_lib.network import MODNet, Segmenter
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import fingerprint

Backend = Literal["auto", "eager", "fused", "compiled", "cudagraphs", "onnxruntime"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def make_backend(
    network: MODNet | Segmenter, backend: Backend, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[MODNet | Segmenter, Callable[[Tensor], Tensor]]:
    """The module that answers everything, and a function from pictures to mattes.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    backend
        ``"eager"``: the network as it is. ``"fused"``: `deploy`'s form of it, in the memory layout that its
        convolutions want; ``"auto"`` means this. ``"compiled"``: that through torch.compile, which needs a C++
        compiler and half a minute for each new size of picture. ``"cudagraphs"``: that as CUDA graphs, one a size.
        ``"onnxruntime"``: exported once (half a minute) into the cache, then run there; CPU and float32 only.
    device, dtype
        Where and in which type to compute; pictures come in and mattes go out as float32.

    Returns
    -------
    The module, `network` itself if eager; and a function (N, 3, H, W) to (N, 1, H, W), both float32.

    Raises
    ------
    ValueError
        For an unknown backend or type, or one that does not fit the device or the network.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if dtype not in DTYPES.values():
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype}")
    if backend == "cudagraphs" and device.type != "cuda":
        raise ValueError(f"cudagraphs needs a GPU of NVIDIA, the device is {device}; take another backend")
    if backend == "onnxruntime" and (device.type, dtype) != ("cpu", torch.float32):
        raise ValueError(f"onnxruntime runs on the CPU in float32 here, got {device} and {dtype}")
    if backend == "eager":
        module = network if dtype == torch.float32 else deploy(network).to(dtype)
    else:
        # channels last: half of the time on a CPU, and what tensor cores read
        module = deploy(network).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    answer: Callable[[Tensor], Tensor] = AlphaOnly(module)
    if backend == "onnxruntime":
        return module, _onnx_session(network)
    if backend in ("compiled", "cudagraphs"):
        mode = "inductor" if backend == "compiled" else "cudagraphs"
        options = {"options": {"freezing": True}} if backend == "compiled" else {}
        answer = torch.compile(answer, backend=mode, dynamic=False, **options)  # type: ignore[call-overload]
    layout = torch.contiguous_format if backend == "eager" else torch.channels_last

    def run(image: Tensor) -> Tensor:
        return answer(image.to(dtype, memory_format=layout)).float()

    return module, run


def _onnx_session(network: MODNet | Segmenter) -> Callable[[Tensor], Tensor]:
    """An ONNX Runtime session for these weights; the file is made once and kept in the cache."""
    import onnxruntime

    from modnet_lib.inference.export import export_onnx

    if not isinstance(network, MODNet):
        raise ValueError("only a MODNet can be exported to ONNX")
    name = fingerprint([torch.__version__, weights_fingerprint(network)])
    file = paths.CACHE / "onnx" / f"{name}.onnx"
    if not file.is_file():
        export_onnx(network, file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(image: Tensor) -> Tensor:
        (alpha,) = session.run(None, {"image": np.ascontiguousarray(image.numpy())})
        return torch.from_numpy(alpha)

    return run
