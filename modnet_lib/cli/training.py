"""Commands that train and measure: ``train``, ``grid``, ``adapt`` and ``evaluate``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli.common import Count, Device, Folder, ProfileName, ShortSide, choice, console, say


def train(
    profile: ProfileName,
    folder: Folder,
    recipe: Annotated[str, Option(help="supervised, pretraining or trimap.")] = "supervised",
    backbone_weights: Annotated[Path | None, Option(help="Start from this backbone.safetensors.")] = None,
    baseline: Annotated[str | None, Option(help="Train another method than MODNet; an unknown name lists all.")] = None,
    device: Device = None,
) -> None:
    """Train MODNet (Eq. 5), only its backbone (on masks), MODNet with a trimap, or another method."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training.run import RECIPES, run

    chosen = RECIPES[choice("recipe", recipe, RECIPES)](Profile.load(profile))
    if baseline and recipe != "supervised":
        raise ValueError(f"--baseline has recipes of its own; leave out --recipe {recipe}")
    if baseline:
        chosen = replace(chosen, name=f"{chosen.name}-{baseline}", baseline=baseline)
    if backbone_weights:
        # instead of the pre-training that rounds begin with
        chosen = replace(chosen, backbone_weights=str(backbone_weights.resolve()), pretraining=None)
    run(chosen, folder, device=device)


def grid(
    name: Annotated[str, Argument(help="ablation (Table 3), comparison (Tables 1, 2 and 5), or a YAML file.")],
    profile: ProfileName,
    folder: Folder,
    row: Annotated[list[str] | None, Option(help="Only this row; may be repeated.")] = None,
    seeds: Annotated[int | None, Option(help="Runs of each row; the profile's number if not set.")] = None,
    device: Device = None,
) -> None:
    """Train and measure every row of a table with every seed."""
    import numpy as np

    from modnet_lib.profiles import Profile
    from modnet_lib.training.grid import Grid, run_grid

    chosen, how = Grid.load(name), Profile.load(profile)
    rows = [choice("row", key, chosen.rows) for key in row or ()]
    result = run_grid(chosen, how.changed({"seeds": seeds or how.seeds}), folder, device=device, rows=rows)
    columns = [(name, metric) for name in chosen.sets for metric in ("mse", "mad")]
    table = Table("row", *map(" ".join, columns))
    for key in result["errors"]["natural"]:
        found = (result["errors"][name].get(key, {}).get(metric) for name, metric in columns)
        table.add_row(chosen.rows[key].label, *(f"{np.mean(one):.4f}" if one else "–" for one in found))
    console.print(table, result["provenance"])


def adapt(
    model: Annotated[Path, Argument(help="Checkpoint, ours or the authors'; `shipped` is the shipped one.")],
    frames: Annotated[str, Argument(help="Video, folder, or NAME:SPLIT of a data set, used without labels.")],
    output: Annotated[Path, Option(help="Adapted checkpoint, .safetensors.")],
    preset: Annotated[str, Option(help="paper or released; also sets the epochs.")] = "paper",
    count: Count = None,
    epochs: Annotated[int | None, Option(help="Instead of the preset's.")] = None,
    short_side: ShortSide = None,
    until: Annotated[float, Option(help="Stop at this multiple of the source's disagreement; 0: never.")] = 1.1,
    fit: Annotated[int, Option(help="Drawn people to fit the semantic head on first; 0 skips this.")] = 24,
    device: Device = None,
    mixed_precision: Annotated[str, Option(help="no, bf16 or fp16.")] = "no",
) -> None:
    """Adapt a checkpoint to unlabelled pictures (SOC), and keep the last good weights."""
    from modnet_lib.data.sets import drawn_people
    from modnet_lib.devices import choose_device
    from modnet_lib.network import load_checkpoint, save_checkpoint
    from modnet_lib.training import adaptation
    from modnet_lib.training.frames import find_frames
    from modnet_lib.training.semantic_head import fit_semantic_head, input_side

    chosen = adaptation.PRESETS[choice("preset", preset, adaptation.PRESETS)]
    if output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {output}")
    network = load_checkpoint(paths.PRETRAINED if str(model) == "shipped" else model).to(choose_device(device))
    side = input_side(network, short_side)
    given = {"epochs": epochs or chosen.epochs, "until": until, "mixed_precision": mixed_precision}
    config = replace(chosen, short_side=side, **given)
    folder = output.with_suffix("")  # of the run
    if fit and network.config["variant"] == "paper":
        drawn = [read() for read in drawn_people(fit).readers]
        network = fit_semantic_head(network, drawn, side)
    pictures = find_frames(frames, folder / "frames", side, count)
    result = adaptation.adapt(network, pictures, config, folder, device=device)
    save_checkpoint(result.network, output)
    table = Table("epoch", "loss", "disagreement", "drift", title=f"{frames}, {len(pictures)} pictures")
    for record in result.history:
        values = (f"{record.get(key, 0):.4f}" for key in ("loss", "disagreement", "drift"))
        table.add_row(str(record["epoch"]), *values)
    console.print(table)
    say(f"{output} has the weights of epoch {result.epoch}. {result.stopped}")


def evaluate(
    model: Annotated[Path, Option(help="Checkpoint, or folder of mattes.", show_default="shipped")] = paths.PRETRAINED,
    benchmark: Annotated[str, Option(help="One of those above; samples: 24 drawn people that ship.")] = "samples",
    protocol: Annotated[str, Option(help="paper; squash: 512 x 512; unknown: the trimap's band.")] = "paper",
    short_side: Annotated[int | None, Option(help="Short side of the input; the protocol's 512 if not set.")] = None,
    count: Count = None,
    output: Annotated[Path | None, Option(help="CSV file, one row per picture; resumes if it exists.")] = None,
    device: Device = None,
) -> None:
    """Measure a checkpoint, or another tool's mattes with the pictures' names, on a benchmark.

    Benchmarks: ppm100, amd, d646, p3m500p, p3m500np, crgnn_r, ccp, spm100, spm_shift, samples; a data set with mattes,
    NAME or NAME:SPLIT; or a folder with photographs in image/ and mattes in alpha/.
    """
    from modnet_lib.data.readers import benchmark as read_benchmark
    from modnet_lib.evaluation.methods import open_model
    from modnet_lib.evaluation.protocol import PROTOCOLS, run_benchmark
    from modnet_lib.evaluation.records import mean_errors

    chosen = PROTOCOLS[choice("protocol", protocol, PROTOCOLS)]
    chosen = replace(chosen, side=short_side or chosen.side)
    network, readers = open_model(model, device), read_benchmark(benchmark, count=count)
    records = run_benchmark(network, readers, protocol=chosen, output=output)
    means = Table("metric", "mean", title=f"{benchmark}, {len(records)} pictures, protocol {protocol}")
    for name, value in mean_errors(records).items():
        means.add_row(name.upper(), f"{value:.4f}")
    seconds = sum(record.seconds for record in records)
    console.print(means, f"{1000 * seconds / len(records):.0f} ms per picture for the model")
