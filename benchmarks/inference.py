"""Everything about using the network: speed, first matte, large pictures, clean edges. The recorded run of notebook 09.

.venv/bin/python benchmarks/inference.py speed   # the release as its authors run it, beside every backend of ours
.venv/bin/python benchmarks/inference.py half    # what bfloat16 costs in accuracy
.venv/bin/python benchmarks/inference.py large   # 4K pictures: bilinear against guided; 100 MP: time and memory
.venv/bin/python benchmarks/inference.py edges   # colours of cut-outs against exact ones

Each writes its part of ``data/results/09_your_own_pictures.json`` with its device, commit and date.
"""

import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import drawn_data
import numpy as np
import torch
import torch.nn.functional as F
import typer
from shipped import made_by
from torch.profiler import ProfilerActivity, profile

from modnet_lib import paths
from modnet_lib.evaluation.methods import trimap_of
from modnet_lib.evaluation.metrics import METRICS
from modnet_lib.images import jpeg, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.inference.deploy import AlphaOnly, Backend, deploy, make_backend
from modnet_lib.inference.edges import clean_foreground, sharpen
from modnet_lib.inference.export import onnx_session
from modnet_lib.network import MODNet, load_checkpoint
from modnet_lib.network.backbones import first_convolution
from modnet_lib.network.cost import count_flops

app = typer.Typer(help=__doc__)
FILE = paths.RESULTS / "09_your_own_pictures.json"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def write(part: str, content: dict[str, Any], values: dict[str, float], what: str) -> None:
    """Put one part into the file beside the others."""
    result = (
        json.loads(FILE.read_text(encoding="utf-8"))
        if FILE.is_file()
        else {"profile": "laptop", "values": {}}
    )
    result[part] = content | made_by(f"{what}; benchmarks/inference.py {part}")
    result["values"] |= {key: float(f"{value:.4g}") for key, value in values.items()}
    result["provenance"] = " | ".join(
        result[name]["provenance"] for name in ("speed", "half", "large", "edges") if name in result
    )
    FILE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content, indent=1))


def peak_reset() -> float:
    """Forget the process's peak memory; MiB in use now."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """Peak memory since `peak_reset`, MiB."""
    return torch.cuda.max_memory_allocated() / 2**20 if DEVICE.type == "cuda" else _status("VmHWM")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def drawn(number: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn person at a size: image through a camera's grain and JPEG, alpha, exact colours."""
    image, alpha, colours, _ = drawn_data.people(number + 1, size)[number]
    grain = np.random.default_rng(number).normal(0, 1.5, image.shape)
    shot = jpeg(np.clip(np.round(image + grain), 0, 255).astype(np.uint8), 92)
    return shot, alpha / np.float32(255), colours


def released() -> MODNet:
    """The released network; without its checkpoint with random weights and statistics of drawn people."""
    file = (paths.external_data() or Path()) / "weights" / "modnet_photographic_portrait_matting.ckpt"
    if file.is_file():
        return load_checkpoint(file)
    torch.manual_seed(0)
    network = MODNet("released").train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.cat([to_tensor(drawn(n, 128)[0]) for n in range(4)]))
    return network.eval()


def timed(function: Callable, rounds: int) -> float:
    """Median, in ms."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        function()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])


def matrix_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a product of two square matrices."""
    square = torch.rand(2048, 2048, device=DEVICE).to(dtype)
    return 2 * 2048**3 / timed(lambda: square @ square, 9) / 1e6


def share_of_convolutions(run: Callable, image: torch.Tensor) -> float:
    """Of the processor's time in one answer."""
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        run(image)
    times = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    return sum(spent for key, spent in times.items() if "convolution" in key) / sum(times.values())


def input_normalisation(network: MODNet, image: torch.Tensor, rounds: int) -> dict[str, float]:
    """The first convolution after `2 x - 1`, and with this folded in and borders of mid-grey, which 0 means then."""
    layer = first_convolution(network)
    folded = copy.deepcopy(layer)
    with torch.no_grad():
        folded.weight *= 2
        folded.bias = torch.nn.Parameter(-layer.weight.sum(dim=(1, 2, 3)))
    height, width = (int(n) for n in layer.padding)
    pad, folded.padding = [width, width, height, height], (0, 0)
    image = image.to(memory_format=torch.channels_last)
    ways: dict[str, Callable] = {
        "as_it_is": lambda: layer(image * 2 - 1),
        "folded": lambda: folded(F.pad(image, pad, value=0.5)),
        "normalisation_alone": lambda: image * 2 - 1,
    }
    with torch.inference_mode():
        torch.testing.assert_close(ways["folded"](), ways["as_it_is"](), rtol=1e-4, atol=1e-4)
        return {name: timed(way, 5 * rounds) for name, way in ways.items()}


def processor_features() -> str:
    """What decides how fast numbers of half the size are."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [name for name in ("avx512_bf16", "amx_bf16") if name in text]
    return f"{torch.backends.cpu.get_cpu_capability()} {' '.join(names) or 'no bfloat16'}"


@app.command()
def speed(
    size: Annotated[int, typer.Option(help="Side of the picture.")] = 512,
    rounds: Annotated[int, typer.Option(help="In each, every backend takes its turn once.")] = 15,
    batch: Annotated[int, typer.Option(help="Pictures at once for the throughput.")] = 4,
    names: Annotated[
        str, typer.Option(help="Backends, separated by commas.")
    ] = "eager,fused,compiled,onnxruntime",
    half: Annotated[bool, typer.Option(help="Also bfloat16.")] = False,
) -> None:
    """Same weights, same picture, one run; backends take turns, so that what disturbs one disturbs all."""
    image = to_tensor(drawn(0, size)[0]).to(DEVICE)
    runs: dict[str, tuple[Callable, dict[str, Any]]] = {}
    answers: dict[str, torch.Tensor] = {}
    networks = {"released": released(), "paper": load_checkpoint(paths.PRETRAINED)}
    with torch.inference_mode():  # the same weights in float64: what rounding alone does to every row
        exact = {
            name: copy.deepcopy(network).to(DEVICE).double()(image.double(), auxiliary=False).alpha
            for name, network in networks.items()
        }
    types = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if half else {})
    for (variant, network), name, (kind, dtype) in itertools.product(
        networks.items(), names.split(","), types.items()
    ):
        if name == "onnxruntime" and kind != "float32":
            continue
        backend: Backend = name  # type: ignore[assignment]
        key, start = f"{variant} {name} {kind}", time.perf_counter()
        _, run = make_backend(network.to(DEVICE), backend, DEVICE, dtype)
        run = onnx_session(network) if backend == "onnxruntime" else run
        with torch.inference_mode():
            before = peak_reset()
            answers[key] = run(image)
        row: dict[str, Any] = {"peak_MiB_more": peak() - before, "start_s": time.perf_counter() - start}
        difference = (answers[key] - answers[f"{variant} eager float32"]).abs()
        row |= {"max_difference": float(difference.max()), "mean_difference": float(difference.mean())}
        row["max_from_float64"] = float((answers[key] - exact[variant]).abs().max())
        runs[key] = run, row
        print(key, row, flush=True)
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
    with torch.inference_mode():
        for _, (key, (run, _)) in itertools.product(range(rounds + 1), runs.items()):
            wall, processor = time.perf_counter(), time.process_time()
            run(image)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            times[key].append((time.perf_counter() - wall, time.process_time() - processor))
        for key, (run, row) in runs.items():
            if "compiled" in key and DEVICE.type == "cpu":  # would compile for minutes
                continue
            run(image.repeat(batch, 1, 1, 1))
            start = time.perf_counter()
            run(image.repeat(batch, 1, 1, 1))
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            row["images_per_s_in_batch"] = batch / (time.perf_counter() - start)
    base = [wall for wall, _ in times["released eager float32"][1:]]
    base_processor = statistics.median(p for _, p in times["released eager float32"][1:])
    for key, (_, row) in runs.items():
        wall = sorted(w for w, _ in times[key][1:])
        row |= {"p50_ms": 1000 * statistics.median(wall), "p95_ms": 1000 * wall[int(0.95 * (len(wall) - 1))]}
        row["speedup"] = statistics.median(base) / statistics.median(wall)
        # processor time is what other programs on the machine disturb least
        processor = statistics.median(p for _, p in times[key][1:])
        row |= {"processor_ms": 1000 * processor, "speedup_of_processor_time": base_processor / processor}
    forms = networks | {f"{name} folded": AlphaOnly(deploy(network)) for name, network in networks.items()}
    flops = {name: count_flops(form, image) / 1e9 for name, form in forms.items()}
    rates = {kind: matrix_rate(dtype) for kind, dtype in types.items()}
    content: dict[str, Any] = {"rows": {key: row for key, (_, row) in runs.items()}, "GFLOP": flops}
    content["GFLOP_per_s_of_matrix_products"] = rates
    content["floor_ms"] = {
        f"{name} {kind}": 1000 * flops[f"{name} folded"] / rate
        for name, (kind, rate) in itertools.product(networks, rates.items())
    }
    content["share_of_convolutions"] = {
        key: share_of_convolutions(run, image) for key, (run, _) in runs.items() if "fused" in key
    }
    content["input_normalisation_ms"] = input_normalisation(networks["released"], image, rounds)
    code = (
        "import time; s = time.perf_counter(); p = time.process_time()\n"
        "from modnet_lib.inference import Matter; import numpy as np\n"
        "Matter.from_pretrained().alpha(np.zeros((512, 512, 3), np.uint8))\n"
        "print(time.perf_counter() - s, time.process_time() - p)"
    )
    runs_ = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    first_matte = [[float(x) for x in run.stdout.split()] for run in runs_]
    content["first_matte_s"], content["first_matte_processor_s"] = (
        min(column) for column in zip(*first_matte, strict=True)
    )
    content["load"] = os.getloadavg()[0]
    where = f"{torch.get_num_threads()} threads, {processor_features()}"
    where = where if DEVICE.type == "cpu" else torch.cuda.get_device_name()
    values = {
        f"speedup_{key.replace(' float32', '').replace(' ', '_')}": row["speedup"]
        for key, (_, row) in runs.items()
    }
    values["first_matte_s"] = content["first_matte_s"]
    write("speed", content, values, f"{size} x {size}, batch 1, {where}, {rounds} rounds")


@app.command()
def half(count: Annotated[int, typer.Option(help="Pictures.")] = 8, size: int = 512) -> None:
    """The shipped checkpoint in bfloat16 against float32 on drawn people."""
    matters = [
        Matter.from_pretrained(short_side=size, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    ]
    rows = []
    for number in range(count):
        image, truth, _ = drawn(number, size)
        full, rounded = (matter.alpha(image) for matter in matters)
        rows.append([np.abs(a - b).mean() for a, b in ((rounded, full), (full, truth), (rounded, truth))])
    difference, mad, mad_half = np.mean(rows, axis=0)
    content = {"mean_difference": difference, "mad_float32": mad, "mad_bfloat16": mad_half}
    content = {key: float(value) for key, value in content.items()}
    write(
        "half",
        content,
        {"half_mean_difference": difference, "half_mad_more": mad_half - mad},
        f"{count} drawn people at {size}",
    )


@app.command()
def large(count: Annotated[int, typer.Option(help="4K pictures.")] = 8, megapixels: int = 100) -> None:
    """Bilinear against guided enlargement, in the unknown region, by Grad, SAD and MAD; then one huge picture."""
    matter, rows = Matter.from_pretrained(short_side=512), []
    for number in range(count):
        image, truth, _ = drawn(number, 3840)
        small = cv2.resize(truth, (960, 960), interpolation=cv2.INTER_AREA)
        unknown = (trimap_of(small) == 0.5).astype(np.uint8)
        region = cv2.resize(unknown, truth.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        plain = matter.alpha(image)
        both = plain, sharpen(plain, image, 3840 / 512)
        rows.append(
            [[METRICS[name](matte, truth, region) for name in ("sad", "grad", "mad")] for matte in both]
        )
        print(number, rows[-1], flush=True)
    means = np.mean(rows, axis=0)
    content: dict[str, Any] = {
        name: dict(zip(("sad", "grad", "mad"), map(float, row), strict=True))
        for name, row in zip(("bilinear", "guided"), means, strict=True)
    }
    content["pictures"] = rows
    side = round(megapixels**0.5 * 1000)
    huge = cv2.resize(drawn(0, 1024)[0], (side, side), interpolation=cv2.INTER_CUBIC)
    for name, refine in (("bilinear", False), ("guided", True)):
        before, start = peak_reset(), time.process_time()
        Matter.from_pretrained(refine=refine).alpha(huge)
        content[f"{megapixels}_MP_{name}"] = {
            "MiB_more": peak() - before,
            "processor_s": time.process_time() - start,
        }
    changes = {
        f"guided_{name}_change": means[1][i] / means[0][i] - 1
        for i, name in enumerate(("sad", "grad", "mad"))
    }
    write("large", content, changes, f"{count} drawn people at 3840, grain 1.5, JPEG 92, short side 512")


@app.command()
def edges(count: Annotated[int, typer.Option(help="Pictures.")] = 16, size: int = 512) -> None:
    """Mean absolute colour error of cut-outs at mixed pixels, weighted by alpha, in levels of 255."""
    matter, rows = Matter.from_pretrained(), []
    for number in range(count):
        image, truth, colours = drawn(number, size)
        mixed = (truth > 0.05) & (truth < 0.95)
        row = []
        for alpha in (truth, matter.alpha(image)):
            for estimate in (image, clean_foreground(image, alpha)):
                error = np.abs(estimate.astype(float) - colours).mean(axis=2)
                row.append(float((error * truth)[mixed].sum() / truth[mixed].sum()))
        rows.append(row)
    names = ("with_old_background", "clean_true_matte", "with_old_background_again", "clean_predicted_matte")
    content: dict[str, Any] = dict(zip(names, map(float, np.mean(rows, axis=0)), strict=True))
    del content["with_old_background_again"]
    write(
        "edges",
        content,
        {f"edge_error_{key}": value for key, value in content.items()},
        f"{count} drawn people at {size}",
    )


if __name__ == "__main__":
    app()
