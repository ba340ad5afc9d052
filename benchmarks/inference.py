"""Everything about using the network: speed, large pictures, clean edges. The recorded run of notebook 09.

.venv/bin/python benchmarks/inference.py speed   # the release as its authors run it, beside every backend of ours
.venv/bin/python benchmarks/inference.py half    # what bfloat16 costs in accuracy
.venv/bin/python benchmarks/inference.py large   # 4K pictures: bilinear against guided
.venv/bin/python benchmarks/inference.py edges   # colours of cut-outs against exact ones

Each writes its part of ``data/results/09_your_own_pictures.json``.
"""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, cast

import cv2
import numpy as np
import torch
import typer
from _timing import DEVICE, NAME, in_turns, medians, people, save, show

from modnet_lib import paths
from modnet_lib.evaluation.methods import trimap_of
from modnet_lib.evaluation.metrics import METRICS
from modnet_lib.images import jpeg, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import Backend, make_backend
from modnet_lib.inference.edges import clean_foreground, sharpen
from modnet_lib.network import MODNet, load_checkpoint

app = typer.Typer(help=__doc__)
STEM = "09_your_own_pictures"


def drawn(number: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn person at a size: image through a camera's grain and JPEG, alpha, exact colours."""
    image, alpha, colours, _ = people(number + 1, size)[number]
    grain = np.random.default_rng(number).normal(0, 1.5, image.shape)
    shot = jpeg(np.clip(np.round(image + grain), 0, 255).astype(np.uint8), 92)
    return shot, alpha / np.float32(255), colours


def released() -> MODNet:
    """The released network; without its checkpoint with random weights and statistics of drawn people."""
    file = (paths.external_data() or Path()) / "weights" / "modnet_photographic_portrait_matting.ckpt"
    if file.is_file():
        return load_checkpoint(file)
    torch.manual_seed(0)
    network, batch = MODNet("released").train(), torch.cat([to_tensor(drawn(n, 128)[0]) for n in range(4)])
    with torch.no_grad():
        for _ in range(20):
            network(batch)
    return network.eval()


@app.command()
@torch.inference_mode()
def speed(
    size: int = 512,
    rounds: int = 15,
    batch: int = 4,
    names: str = "eager,fused,compiled,onnxruntime",
    half: bool = False,
) -> None:
    """Same weights, same picture; `names` are backends; `batch` pictures at once for the throughput."""
    image = to_tensor(drawn(0, size)[0]).to(DEVICE)
    networks = {"released": released().to(DEVICE), "paper": load_checkpoint(paths.PRETRAINED).to(DEVICE)}
    types = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if half else {})
    runs: dict[str, Callable] = {}
    rows: dict[str, dict[str, float]] = {}
    for (variant, network), name, kind in itertools.product(networks.items(), names.split(","), types):
        if name == "onnxruntime" and kind != "float32":
            continue
        runs[f"{variant} {name} {kind}"] = run = make_backend(network, cast(Backend, name), DEVICE, types[kind])[1]
        # the same weights in float64: what rounding alone does to every row
        exact = copy.deepcopy(network).double()(image.double(), auxiliary=False).alpha
        answer, eager = run(image), runs[f"{variant} eager float32"](image)
        far = (answer - eager).abs()
        rows[f"{variant} {name} {kind}"] = {
            "max_difference": float(far.max()),
            "mean_difference": float(far.mean()),
            "max_from_float64": float((answer - exact).abs().max()),
        }
    times = in_turns({key: lambda run=run: run(image) for key, run in runs.items()}, rounds)
    first, many = median(times["released eager float32"]), image.repeat(batch, 1, 1, 1)
    for key, run in runs.items():
        middle = median(times[key])
        rows[key] |= {"p50_ms": middle, "p95_ms": float(np.percentile(times[key], 95)), "speedup": first / middle}
        if "compiled" not in key or DEVICE.type == "cuda":  # would compile for minutes
            taken = medians({key: lambda run=run: run(many)}, 1)[key]
            rows[key]["images_per_s_in_batch"] = 1000 * batch / taken
    show(f"{size} x {size}, {NAME}", {key: {"ms": row["p50_ms"]} for key, row in rows.items()})
    values = {f"speedup_{key.replace(' float32', '').replace(' ', '_')}": row["speedup"] for key, row in rows.items()}
    what = f"{size} x {size}, batch 1, {NAME}, {torch.backends.cpu.get_cpu_capability()}, {rounds} rounds"
    save(STEM, f"{what}; benchmarks/inference.py speed", {"rows": rows}, "speed", values)


@app.command()
def half(count: int = 8, size: int = 512) -> None:
    """The shipped checkpoint in bfloat16 against float32 on drawn people."""
    matters = [Matter.from_pretrained(short_side=size, dtype=t) for t in (torch.float32, torch.bfloat16)]
    rows = []
    for number in range(count):
        image, truth, _ = drawn(number, size)
        full, rounded = (matter.alpha(image) for matter in matters)
        rows.append([np.abs(a - b).mean() for a, b in ((rounded, full), (full, truth), (rounded, truth))])
    difference, mad, mad_half = np.mean(rows, axis=0).tolist()
    found = {"mean_difference": difference, "mad_float32": mad, "mad_bfloat16": mad_half}
    values = {"half_mean_difference": difference, "half_mad_more": mad_half - mad}
    save(STEM, f"{count} drawn people at {size}; benchmarks/inference.py half", found, "half", values)


@app.command()
def large(count: int = 8, side: int = 3840) -> None:
    """Bilinear against guided enlargement in the unknown region."""
    matter, rows, names = Matter.from_pretrained(short_side=512), [], ("sad", "grad", "mad")
    for number in range(count):
        image, truth, _ = drawn(number, side)
        small = cv2.resize(truth, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
        unknown = (trimap_of(small) == 0.5).astype(np.uint8)
        region = cv2.resize(unknown, (side, side), interpolation=cv2.INTER_NEAREST) > 0
        matte = matter.alpha(image)
        mattes = (matte, sharpen(matte, image, side / 512))
        rows.append([[METRICS[name](matte, truth, region) for name in names] for matte in mattes])
    plain, guided = (dict(zip(names, row, strict=True)) for row in np.mean(rows, axis=0).tolist())
    values = {f"guided_{name}_change": guided[name] / plain[name] - 1 for name in names}
    what = f"{count} drawn people at {side}, grain 1.5, JPEG 92, short side 512; benchmarks/inference.py large"
    save(STEM, what, {"bilinear": plain, "guided": guided, "pictures": rows}, "large", values)


@app.command()
def edges(count: int = 16, size: int = 512) -> None:
    """Mean absolute colour error of cut-outs at mixed pixels, weighted by alpha, in levels of 255."""
    matter, rows = Matter.from_pretrained(), []
    for number in range(count):
        image, truth, colours = drawn(number, size)
        mixed = (truth > 0.05) & (truth < 0.95)
        ways = (image, *(clean_foreground(image, alpha) for alpha in (truth, matter.alpha(image))))
        errors = [np.abs(one.astype(float) - colours).mean(axis=2) for one in ways]
        rows.append([float((error * truth)[mixed].sum() / truth[mixed].sum()) for error in errors])
    names = ("with_old_background", "clean_true_matte", "clean_predicted_matte")
    found: dict[str, Any] = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
    values = {f"edge_error_{key}": value for key, value in found.items()}
    save(STEM, f"{count} drawn people at {size}; benchmarks/inference.py edges", found, "edges", values)


if __name__ == "__main__":
    app()
