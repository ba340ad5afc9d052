"""The network as a file that other programs run: ONNX and torch.export, each compared with eager before it is kept."""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modnet_lib import paths
from modnet_lib.files import write_atomically
from modnet_lib.images import ImageLike, read_image, to_tensor
from modnet_lib.inference.deploy import AlphaOnly, deploy
from modnet_lib.network import MODNet
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import fingerprint

TOLERANCE = 1e-4  # of alpha; a hundredth of what 8 bits can show is 4e-5
SIZES = ((64, 96), (160, 128))  # of the random pictures that are compared


def export_onnx(network: MODNet, path: str | Path, images: Sequence[ImageLike] = ()) -> float:
    """Write the network as ONNX, atomically, if ONNX Runtime gives the same mattes.

    Input ``image``: (N, 3, H, W) float32 RGB in [0, 1], any N, H and W multiples of 32 from 64
    on. Output ``alpha``: (N, 1, H, W).
    The side that its pictures are brought to is in the metadata, ``short_side``.

    Parameters
    ----------
    network
        Left as it is; one that takes a trimap is refused.
    path
        Must end in ``.onnx``.
    images
        Real pictures to compare with, as squares of the network's own size, besides random ones of two sizes.

    Returns
    -------
    The largest difference of alpha that was found.

    Raises
    ------
    ValueError
        If the suffix is another one, the network takes a trimap, or the answers differ by more than 1e-4; then
        nothing is written.
    """

    def write(module: nn.Module, file: Path) -> Callable[[Tensor], Tensor]:
        # the exporter prints its progress whatever one asks for
        with contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                module,
                (torch.rand(2, 3, *SIZES[0]),),
                dynamo=True,
                dynamic_shapes=_shapes(),
                output_names=["alpha"],
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props["short_side"] = str(_side(network))
        program.save(file)
        return _session(file)

    return _export(network, Path(path), ".onnx", write, images)


def export_program(network: MODNet, path: str | Path, images: Sequence[ImageLike] = ()) -> float:
    """Write the network for `torch.export.load`, ``.pt2``; otherwise as `export_onnx`."""

    def write(module: nn.Module, file: Path) -> Callable[[Tensor], Tensor]:
        program = torch.export.export(module, (torch.rand(2, 3, *SIZES[0]),), dynamic_shapes=_shapes())
        buffer = io.BytesIO()  # by name, torch insists on the suffix, which a temporary file does not have
        torch.export.save(program, buffer)
        file.write_bytes(buffer.getvalue())
        buffer.seek(0)
        return torch.export.load(buffer).module()

    return _export(network, Path(path), ".pt2", write, images)


def onnx_session(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """ONNX Runtime for these weights, (N, 3, H, W) to (N, 1, H, W) on the CPU; the file is kept in the cache."""
    if not isinstance(network, MODNet):
        raise ValueError("only a MODNet can be exported to ONNX")
    name = fingerprint([torch.__version__, weights_fingerprint(network)])
    file = paths.CACHE / "onnx" / f"{name}.onnx"
    if not file.is_file():
        export_onnx(network, file)
    return _session(file)


def _session(file: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(
        np.asarray(session.run(None, {"image": np.ascontiguousarray(image.numpy())})[0])
    )


def _export(
    network: MODNet,
    path: Path,
    suffix: str,
    write: Callable[..., Callable[[Tensor], Tensor]],
    images: Sequence[ImageLike],
) -> float:
    if path.suffix != suffix:
        raise ValueError(f"path must end in {suffix}, got {path}")
    if network.config["trimap_input"]:
        raise ValueError("a network that takes a trimap is not exported; give one without trimap_input")
    network = copy.deepcopy(network).cpu().eval()
    module = AlphaOnly(deploy(network)).eval()
    difference = 0.0

    def write_and_compare(file: Path) -> None:
        nonlocal difference
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations, not the caller's business
            exported = write(module, file)
            differences = [exported(image) - network(image).alpha for image in _inputs(network, images)]
        difference = float(torch.stack([one.abs().max() for one in differences]).max())
        if not difference <= TOLERANCE:  # also if it is NaN
            raise ValueError(
                f"{path} was not written: its mattes differ from the network's by {difference:.2g}, "
                f"more than {TOLERANCE:g}"
            )

    write_atomically(path, write_and_compare)
    return difference


def _shapes() -> dict[str, dict[int, Any]]:
    height, width = (32 * torch.export.Dim(name, min=2, max=512) for name in ("height32", "width32"))
    return {"image": {0: torch.export.Dim("batch", min=1, max=4096), 2: height, 3: width}}


def _side(network: MODNet) -> int:
    return int(network.metadata.get("short_side", 512))


def _inputs(network: MODNet, images: Sequence[ImageLike]) -> list[Tensor]:
    generator, side = torch.Generator().manual_seed(0), max(64, _side(network) // 32 * 32)
    inputs = [torch.rand(n, 3, *size, generator=generator) for n, size in zip((1, 3), SIZES, strict=True)]
    return inputs + [
        nn.functional.interpolate(to_tensor(read_image(image)), (side, side), mode="bilinear", antialias=True)
        for image in images
    ]
