"""The network as a file that other programs run: ONNX and torch.export, each compared with eager before it is kept."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modnet_lib.files import write_atomically
from modnet_lib.images import ImageLike, read_image, to_tensor
from modnet_lib.inference.deploy import AlphaOnly, deploy
from modnet_lib.inference.sizes import SHORT_SIDE, network_size, resize
from modnet_lib.network import MODNet

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
        In evaluation mode; one that takes a trimap is refused.
    path
        Must end in ``.onnx``.
    images
        Real pictures to compare with, besides random ones of two sizes.

    Returns
    -------
    The largest difference of alpha that was found.

    Raises
    ------
    ValueError
        If the suffix is another one, the network takes a trimap, or the answers differ by more than 1e-4; then
        nothing is written.
    """
    import onnxruntime

    def write(module: nn.Module, file: Path) -> Callable[[Tensor], Tensor]:
        # the exporter prints its progress whatever one asks for
        with contextlib.redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                module,
                (_example(),),
                dynamo=True,
                dynamic_shapes=_shapes(),
                output_names=["alpha"],
                verbose=False,
            )
        assert program is not None
        side = network.metadata.get("short_side", SHORT_SIDE)
        program.model.metadata_props["short_side"] = str(side)
        program.save(file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda image: torch.from_numpy(np.asarray(session.run(None, {"image": image.numpy()})[0]))

    return _export(network, Path(path), ".onnx", write, images)


def export_program(network: MODNet, path: str | Path, images: Sequence[ImageLike] = ()) -> float:
    """Write the network for `torch.export.load`, ``.pt2``; otherwise as `export_onnx`."""

    def write(module: nn.Module, file: Path) -> Callable[[Tensor], Tensor]:
        program = torch.export.export(module, (_example(),), dynamic_shapes=_shapes())
        buffer = io.BytesIO()  # by name torch insists on the suffix, which a temporary file has not
        torch.export.save(program, buffer)
        file.write_bytes(buffer.getvalue())
        buffer.seek(0)
        return torch.export.load(buffer).module()

    return _export(network, Path(path), ".pt2", write, images)


def _export(
    network: MODNet,
    path: Path,
    suffix: str,
    write: Callable[..., Callable[[Tensor], Tensor]],
    images: Sequence,
) -> float:
    if path.suffix != suffix:
        raise ValueError(f"path must end in {suffix}, got {path}")
    if network.config["trimap_input"]:
        raise ValueError("a network that takes a trimap is not exported; give one without trimap_input")
    network = network.cpu().eval()
    module = AlphaOnly(deploy(network)).eval()
    difference = 0.0

    def write_and_compare(file: Path) -> None:
        nonlocal difference
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's own deprecations, not the caller's business
            exported = write(module, file)
        difference = max(_difference(network, exported, image) for image in _inputs(network, images))
        if not difference <= TOLERANCE:  # also if it is NaN
            raise ValueError(
                f"{path} was not written: its mattes differ from the network's by {difference:.2g}, "
                f"more than {TOLERANCE:g}"
            )

    write_atomically(path, write_and_compare)
    return difference


def _example() -> Tensor:
    return torch.rand(2, 3, *SIZES[0])


def _shapes() -> dict[str, dict[int, Any]]:
    height, width = (32 * torch.export.Dim(name, min=2, max=512) for name in ("height32", "width32"))
    return {"image": {0: torch.export.Dim("batch", min=1, max=4096), 2: height, 3: width}}


def _inputs(network: MODNet, images: Sequence[ImageLike]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(n, 3, *size, generator=generator) for n, size in zip((1, 3), SIZES, strict=True)]
    side = int(network.metadata.get("short_side", SHORT_SIDE))
    for image in images:
        pixels = read_image(image)
        inputs.append(resize(to_tensor(pixels), *network_size(pixels.shape[0], pixels.shape[1], side)))
    return inputs


@torch.no_grad()
def _difference(network: MODNet, exported: Callable[[Tensor], Tensor], image: Tensor) -> float:
    return float((exported(image) - network(image, auxiliary=False).alpha).abs().max())
