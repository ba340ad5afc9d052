"""Commands that train: ``train``, ``ablate``, ``compare`` and ``adapt``."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from typer import Argument, Option

from modnet_lib import paths
from modnet_lib.cli.common import Count, Folder, Jobs, ProfileName, ShortSide, choice, console, say


def train(
    profile: ProfileName,
    folder: Folder,
    recipe: Annotated[str, Option(help="supervised, pretraining or trimap.")] = "supervised",
    backbone_weights: Annotated[Path | None, Option(help="Start from this backbone.safetensors.")] = None,
    baseline: Annotated[
        str | None, Option(help="Another method than MODNet, with its own losses; a wrong name lists all.")
    ] = None,
) -> None:
    """Train MODNet (Eq. 5), its backbone alone (on masks), MODNet with a trimap, or another method."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training.recipes import RECIPES, run

    chosen = RECIPES[choice("recipe", recipe, RECIPES)](Profile.load(profile))
    if baseline and recipe != "supervised":
        raise ValueError(f"--baseline has recipes of its own; leave out --recipe {recipe}")
    if baseline:
        chosen = replace(chosen, name=f"{chosen.name}-{baseline}", baseline=baseline)
    if backbone_weights:
        chosen = replace(chosen, backbone_weights=str(backbone_weights.resolve()))
    run(chosen, folder)


def ablate(
    profile: ProfileName,
    folder: Folder,
    jobs: Jobs = 1,
    start: Annotated[Path | None, Option(help="Folder of another grid, to continue its networks.")] = None,
) -> None:
    """Train and measure every row of Table 3 with every seed."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training import ablation

    result = ablation.run_grid(Profile.load(profile), folder, jobs=jobs, start=start)
    labels = {row: ablation.ROWS[row].label for row in result["errors"]}
    rows, values = Table("row", "MSE", "MAD"), result["values"]
    for row, label in labels.items():
        rows.add_row(label, f"{values[f'mse_{row}']:.4f}", f"{values[f'mad_{row}']:.4f}")
    console.print(rows, _changes(ablation.compare(result, "mad"), labels), result["provenance"])


def compare(profile: ProfileName, folder: Folder, jobs: Jobs = 1) -> None:
    """Train and measure every method of Tables 1, 2 and 5 with every seed."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training import comparison

    result = comparison.run_grid(Profile.load(profile), folder, jobs=jobs)
    columns = [(name, metric) for name in comparison.SETS for metric in ("mse", "mad")]
    labels = {key: comparison.SYSTEMS[key].label for key in result["errors"]["natural"]}
    rows = Table("method", *(f"{name} {metric.upper()}" for name, metric in columns))
    for key, label in labels.items():
        values = (result["values"].get(f"{name}_{metric}_{key}") for name, metric in columns)
        rows.add_row(label, *("–" if value is None else f"{value:.4f}" for value in values))
    console.print(rows, _changes(comparison.compare(result, "mad"), labels), result["provenance"])


def _changes(summaries: Iterable[Any], labels: dict[str, str]) -> Table:
    table = Table("from", "to", "change of MAD", "95 % interval")
    for one in summaries:
        ends = f"{one.change.low:+.4f} to {one.change.high:+.4f}"
        table.add_row(labels[one.before], labels[one.after], f"{one.change.mean:+.4f}", ends)
    return table


def adapt(
    model: Annotated[Path, Argument(help="Checkpoint, ours or the authors'; `shipped` is the shipped one.")],
    frames: Annotated[str, Argument(help="Video, folder, or NAME:SPLIT of a data set, used without labels.")],
    output: Annotated[Path, Option(help="Adapted checkpoint, .safetensors.")],
    folder: Annotated[Path | None, Option(help="Folder of the run; next to the output if not set.")] = None,
    preset: Annotated[str, Option(help="paper or released.")] = "paper",
    count: Count = None,
    epochs: Annotated[int | None, Option(show_default="the preset's")] = None,
    learning_rate: Annotated[float | None, Option(show_default="the preset's")] = None,
    batch_size: Annotated[int, Option(help="Frames per step.")] = 1,
    short_side: ShortSide = None,
    until: Annotated[
        float, Option(help="Stop at this multiple of the source domain's disagreement; 0 runs all epochs.")
    ] = 1.1,
    fit: Annotated[int, Option(help="Drawn people to fit the semantic head on first; 0 skips this.")] = 32,
) -> None:
    """Adapt a checkpoint to unlabelled pictures (SOC), and keep the weights from before it did harm."""
    from modnet_lib.data.loaders import portrait_readers
    from modnet_lib.network import load_checkpoint, save_checkpoint
    from modnet_lib.training import adaptation

    chosen = adaptation.PRESETS[choice("preset", preset, adaptation.PRESETS)]
    if output.suffix != ".safetensors":
        raise ValueError(f"the output must end in .safetensors, got {output}")
    network = load_checkpoint(paths.PRETRAINED if str(model) == "shipped" else model)
    given = {"epochs": epochs, "learning_rate": learning_rate, "short_side": short_side}
    given = {name: value for name, value in given.items() if value is not None}
    config = replace(chosen, batch_size=batch_size, until=until, **given)
    folder = folder or output.with_suffix("")
    side = config.short_side or int(network.metadata.get("short_side", 512))
    if fit and network.config["variant"] == "paper":
        drawn = [read() for read in portrait_readers(range(fit), side).values()]
        network = adaptation.fit_semantic_head(network, drawn, side)
    pictures = adaptation.find_frames(frames, folder / "frames", side, count)
    result = adaptation.adapt(network, pictures, config, folder)
    save_checkpoint(result.network, output)
    table = Table("epoch", "loss", "disagreement", "drift", title=f"{frames}, {len(pictures)} pictures")
    for record in result.history:
        values = (f"{record.get(key, 0):.4f}" for key in ("loss", "disagreement", "drift"))
        table.add_row(str(record["epoch"]), *values)
    console.print(table)
    say(f"{output} has the weights of epoch {result.epoch}. {result.stopped}")
