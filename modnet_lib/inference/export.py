"""The network as an ONNX file for other programs, compared with eager before it is kept."""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modnet_lib import paths
from modnet_lib.devices import resize
from modnet_lib.files import atomic
from modnet_lib.images import ImageLike, read_image, read_out, to_tensor
from modnet_lib.inference.deploy import AlphaOnly, deploy
from modnet_lib.network import MODNet
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.provenance import fingerprint

TOLERANCE = 1e-4  # of alpha; a hundredth of what 8 bits can show is 4e-5


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
    The largest difference of alpha that was found; a ValueError if it is more than `TOLERANCE`.
    """
    if Path(path).suffix != ".onnx":
        raise ValueError(f"path must end in .onnx, got {path}")
    if size and (min(size) < 64 or size[0] % 32 or size[1] % 32):
        raise ValueError(f"size must be multiples of 32 from 64 on, got {size[0]} x {size[1]}")
    if network.config["trimap_input"]:
        raise ValueError("a network that takes a trimap is not exported; give one without trimap_input")
    network = copy.deepcopy(network).to("cpu").eval()
    side, generator = int(network.metadata.get("short_side", 512)), torch.Generator().manual_seed(0)
    sizes = [(1, 3, *size), (2, 3, *size)] if size else [(1, 3, 64, 96), (3, 3, 160, 128)]
    inputs = [torch.rand(one, generator=generator) for one in sizes]
    inputs += [resize(to_tensor(read_image(one)), *(size or (max(64, side // 32 * 32),) * 2)) for one in images]
    with atomic(path) as file, torch.no_grad():
        # torch's own deprecations are not the caller's business; the exporter prints whatever one asks for
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            _save(network, side, file, size)
        exported = _session(file)
        found = [(exported(image) - network(image).alpha).abs().max() for image in inputs]
        difference = float(read_out(torch.stack(found).max()))
        if not difference <= TOLERANCE:  # also if it is NaN
            raise ValueError(f"{path} was not written: its mattes differ by {difference:.2g} from the network's")
    return difference


def _save(network: MODNet, side: int, file: Path, size: tuple[int, int] | None) -> None:
    height, width = (32 * torch.export.Dim(name, min=2, max=512) for name in ("height32", "width32"))
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    program = torch.onnx.export(
        AlphaOnly(deploy(network, whole=True)).eval(),
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


def onnx_session(network: MODNet) -> Callable[[Tensor], Tensor]:
    """ONNX Runtime for these weights, (N, 3, H, W) to (N, 1, H, W) on the CPU; the file is kept in the cache."""
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
    answer: Any = session.run
    return lambda image: torch.from_numpy(answer(None, {"image": read_out(image.contiguous())})[0])
