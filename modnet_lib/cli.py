"""The command line: ``modnet matte``, ``video``, ``export``, ``train``, ``adapt``, ``evaluate`` and more."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress
from rich.console import Console
from rich.table import Table

from modnet_lib import paths

app = typer.Typer(help="Trimap-free portrait matting, from data to matte.", no_args_is_help=True)
data = typer.Typer(help="Data sets: what there is, getting it, checking it.", no_args_is_help=True)
app.add_typer(data, name="data")
console = Console()
# what matte says: its pictures may go to standard output, and it may be called from a notebook
errors = Console(stderr=True, force_jupyter=False)
Checkpoint = Annotated[
    Path, typer.Option(help="Another checkpoint than the shipped one.", show_default="the shipped one")
]

Name = Annotated[str, typer.Argument(help="A data set, as `modnet data list` names it.")]
Root = Annotated[
    Path | None, typer.Option(help="The data set's folder.", show_default="its place in $MODNET_DATA")
]


def _say(text: object, style: str | None = None, to: Console = console) -> None:
    to.print(str(text), style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _mistakes(*more: type[Exception]) -> Iterator[None]:
    """Mistakes end with a message and exit code 1."""
    try:
        yield
    except (ValueError, OSError, *more) as error:
        _say(error, "red", errors)
        raise typer.Exit(1) from error


@app.command()
def matte(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN... OUT", help="Pictures, folders, patterns; then a file or folder. - is a pipe."
        ),
    ],
    alpha_only: Annotated[bool, typer.Option("--alpha", help="The matte instead of a cut-out.")] = False,
    background: Annotated[
        str | None,
        typer.Option(help="Before a colour (white, #00b140), a picture, or blur; no transparency."),
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Sharper edges in large pictures.")] = False,
    keep_colours: Annotated[
        bool, typer.Option("--keep-colours", help="Leave the old background's colour at the edges.")
    ] = False,
    format: Annotated[str, typer.Option(help="Of files in a folder: png, webp, jpg or tif.")] = "png",
    model: Annotated[
        Path, typer.Option(help="A checkpoint, ours or the authors'.", show_default="the shipped one")
    ] = paths.PRETRAINED,
    short_side: Annotated[
        int | None, typer.Option(help="Of what the network sees.", show_default="the checkpoint's")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1.", show_default="a GPU if any")
    ] = None,
    backend: Annotated[str, typer.Option(help="eager, fused, compiled, cudagraphs, onnxruntime.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Pictures at once.")] = 1,
    workers: Annotated[int, typer.Option(help="Threads that read and write.")] = 2,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also do what is there.")] = False,
) -> None:
    """Cut people out of pictures, of folders with all in them, or of a pipe. What a folder has already is skipped.

    modnet matte me.jpg me.png · modnet matte photos/ cutouts/ · modnet matte --background blur a.jpg b.jpg out/

    Exit codes: 0 all is well, 1 a mistake in the call, 3 some pictures failed (they are listed at the end).
    """
    from modnet_lib.inference import Matter, bulk

    with _mistakes():
        if len(places) < 2:
            raise ValueError(f"say where to: modnet matte {places[0]} OUT")
        *sources, target = places
        output = bulk.Output(alpha_only, background, clean=not keep_colours)
        piped = "-" in map(str, places)
        if piped and len(places) != 2:
            raise ValueError("a pipe takes one picture: modnet matte - OUT, or modnet matte IN -")
        suffix = f".{format.lower().removeprefix('.')}"
        if piped and str(target) != "-":
            suffix = target.suffix.lower()
        jobs = [] if piped else bulk.plan(sources, target, suffix)
        for ending in {suffix} if piped else {job.target.suffix.lower() for job in jobs}:
            output.check(ending)
        settings: dict[str, Any] = {
            "backend": backend,
            "dtype": _dtype(dtype),
            "short_side": short_side,
            "refine": refine,
        }
        matter = Matter.from_pretrained(model, device=device, **settings)
        if piped:
            _pipe(matter, str(sources[0]), str(target), suffix, output)
            return
        if background is not None:  # a mistake in it is one of the call, not of every picture
            bulk.check_background(background)
        jobs, failed, counts = bulk.share(jobs), list[str](), {"written": 0, "skipped": 0}
        overwrite = overwrite or (len(jobs) == 1 and jobs[0].target == target)
        results = bulk.run(matter, jobs, output, overwrite=overwrite, batch_size=batch_size, workers=workers)
        for result in progress.track(results, "matting", len(jobs), console=errors, disable=len(jobs) < 2):
            if result.error:
                failed.append(result.error)
            else:
                counts["skipped" if result.skipped else "written"] += 1
    for reason in failed:
        _say(reason, "red", errors)
    _say(f"{counts['written']} written, {counts['skipped']} there already, {len(failed)} failed", to=errors)
    if failed:
        raise typer.Exit(3)


def _dtype(name: str) -> Any:
    """The type of torch of that name."""
    from modnet_lib.inference.deploy import DTYPES

    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]


def _pipe(matter: Any, source: str, target: str, suffix: str, output: Any) -> None:
    """One picture through stdin, stdout or both."""
    import sys
    from tempfile import TemporaryDirectory

    from modnet_lib.inference.bulk import Job, run

    with TemporaryDirectory() as folder:
        file = Path(folder, "standard input") if source == "-" else Path(source)
        if source == "-":
            file.write_bytes(sys.stdin.buffer.read())
        written = Path(folder, f"out{suffix}") if target == "-" else Path(target)
        (result,) = run(matter, [Job(file, written)], output, overwrite=True)
        if result.error:
            raise ValueError(result.error.replace(f"{folder}/", ""))
        if target == "-":
            sys.stdout.buffer.write(written.read_bytes())


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="FILE.onnx, or FILE.pt2 for torch.export.")],
    model: Annotated[
        Path, typer.Option(help="A checkpoint, ours or the authors'.", show_default="the shipped one")
    ] = paths.PRETRAINED,
    image: Annotated[
        list[Path] | None, typer.Option(help="Also compare on this picture; repeatable.")
    ] = None,
) -> None:
    """Write the network for other programs; refuses if the copy does not answer alike."""
    from modnet_lib.inference.export import export_onnx, export_program
    from modnet_lib.network import load_checkpoint

    with _mistakes():
        writers = {".onnx": export_onnx, ".pt2": export_program}
        if target.suffix not in writers:
            raise ValueError(f"the target must end in .onnx or .pt2, got {target}")
        difference = writers[target.suffix](load_checkpoint(model), target, image or ())
    _say(f"{target}: the largest difference of alpha is {difference:.1e}")


@app.command()
def video(
    source: Annotated[
        str, typer.Argument(help="A clip; - for standard input; a camera's number, such as 0.")
    ],
    target: Annotated[
        Path, typer.Argument(help=".mp4, .mov, .mkv (H.264), .webm (VP9), or a new folder for PNG files.")
    ],
    background: Annotated[
        str | None,
        typer.Option(
            help="A colour, a picture, a clip, blur, matte, or transparent (.webm and folders).",
            show_default="transparent where the target can be, else green",
        ),
    ] = None,
    ofd: Annotated[bool, typer.Option(help="One-frame delay against flicker.")] = True,
    threshold: Annotated[float, typer.Option(help="Of the one-frame delay.")] = 0.1,
    frames: Annotated[int | None, typer.Option(help="Only so many; a camera needs it.")] = None,
    batch_size: Annotated[int, typer.Option(help="Frames that go through the network together.")] = 1,
    short_side: Annotated[int | None, typer.Option(help="Of the network's input.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    resume: Annotated[bool, typer.Option(help="Keep mattes, so that a run that was cut goes on.")] = True,
    model: Checkpoint = paths.PRETRAINED,
) -> None:
    """Cut people out of a clip, or put another background behind them."""
    from modnet_lib.inference import Matter
    from modnet_lib.inference.video import matte_video

    columns = (*progress.Progress.get_default_columns(), progress.TextColumn("{task.fields[rate]} frames/s"))
    with _mistakes(), progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(target.name, total=None, rate="–")

        def show(done: int, total: int | None) -> None:
            rate = f"{bar.tasks[task].speed or 0:.1f}"
            bar.update(task, completed=done, total=total, rate=rate)

        report = matte_video(
            Matter.from_pretrained(model, short_side=short_side, dtype=_dtype(dtype)),
            int(source) if source.isdecimal() else source,
            target,
            background=background,
            threshold=threshold if ofd else None,
            batch_size=batch_size,
            limit=frames,
            resume=resume,
            progress=show,
        )
    _say(f"{target}: {report.frames} frames, {report.frames / report.seconds:.1f} a second")
    if ofd:
        _say(f"the one-frame delay repaired {100 * report.repaired:.2f} % of the pixels")


@app.command()
def train(
    profile: Annotated[str, typer.Argument(help="A profile's name, or the recipe.yaml of another run.")],
    folder: Annotated[Path, typer.Option(help="Where the run lives; an interrupted one goes on.")],
    recipe: Annotated[str, typer.Option(help="supervised, pretraining or trimap.")] = "supervised",
    backbone_weights: Annotated[
        Path | None, typer.Option(help="Start from this backbone.safetensors, e.g. of a pre-training.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Another method in the place of MODNet, with its own losses, e.g. shm; a wrong name lists all."
        ),
    ] = None,
) -> None:
    """Train: Eq. 5, the backbone alone (on masks), MODNet with a trimap, or another method."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training.recipes import RECIPES, run

    with _mistakes(FloatingPointError):
        if recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
        chosen = RECIPES[recipe](Profile.load(profile))
        if baseline and recipe != "supervised":
            raise ValueError(f"--baseline has recipes of its own; leave out --recipe {recipe}")
        if baseline:
            chosen = replace(chosen, name=f"{chosen.name}-{baseline}", baseline=baseline)
        if backbone_weights:
            chosen = replace(chosen, backbone_weights=str(backbone_weights.resolve()))
        run(chosen, folder)


@app.command()
def ablate(
    profile: Annotated[str, typer.Argument(help="A profile's name or file.")],
    folder: Annotated[Path, typer.Option(help="Where the runs live; what is complete is not run again.")],
    jobs: Annotated[int, typer.Option(help="Runs side by side, one processor core each.")] = 1,
    start: Annotated[
        Path | None, typer.Option(help="The folder of another grid, whose networks go on.")
    ] = None,
) -> None:
    """Train and measure every row of Table 3 with every seed."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training import ablation

    with _mistakes(FloatingPointError):
        result = ablation.run_grid(Profile.load(profile), folder, jobs=jobs, start=start)
    labels = {row: ablation.ROWS[row].label for row in result["errors"]}
    rows, values = Table("row", "MSE", "MAD"), result["values"]
    for row, label in labels.items():
        rows.add_row(label, f"{values[f'mse_{row}']:.4f}", f"{values[f'mad_{row}']:.4f}")
    changes = Table("from", "to", "change of MAD", "95 % interval")
    for one in ablation.compare(result, "mad"):
        ends = f"{one.change.low:+.4f} to {one.change.high:+.4f}"
        changes.add_row(labels[one.before], labels[one.after], f"{one.change.mean:+.4f}", ends)
    console.print(rows, changes, result["provenance"])


@app.command()
def compare(
    profile: Annotated[str, typer.Argument(help="A profile's name or file.")],
    folder: Annotated[Path, typer.Option(help="Where the runs live; what is complete is not run again.")],
    jobs: Annotated[int, typer.Option(help="Runs side by side, one processor core each.")] = 1,
) -> None:
    """Train and measure every method of Tables 1, 2 and 5 with every seed."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training import comparison

    with _mistakes(FloatingPointError):
        result = comparison.run_grid(Profile.load(profile), folder, jobs=jobs)
    systems, values = comparison.SYSTEMS, result["values"]
    rows = Table("method", *(f"{name} {metric}" for name in comparison.SETS for metric in ("MSE", "MAD")))
    for key in result["errors"]["natural"]:
        found = (
            values.get(f"{name}_{metric}_{key}") for name in comparison.SETS for metric in ("mse", "mad")
        )
        rows.add_row(systems[key].label, *("–" if value is None else f"{value:.4f}" for value in found))
    changes = Table("from", "to", "change of MAD", "95 % interval")
    for one in comparison.compare(result, "mad"):
        ends = f"{one.change.low:+.4f} to {one.change.high:+.4f}"
        changes.add_row(systems[one.before].label, systems[one.after].label, f"{one.change.mean:+.4f}", ends)
    console.print(rows, changes, result["provenance"])


@app.command()
def adapt(
    model: Annotated[
        Path, typer.Argument(help="A trained checkpoint, ours or the authors'; `shipped` is ours.")
    ],
    frames: Annotated[str, typer.Argument(help="A video, a folder, or NAME:SPLIT of a data set; no labels.")],
    output: Annotated[Path, typer.Option(help="The adapted checkpoint, .safetensors.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder; an interrupted run continues.", show_default="beside the output"
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="paper or released.")] = "paper",
    count: Annotated[int | None, typer.Option(help="Maximum number of frames, evenly spaced.")] = None,
    epochs: Annotated[int | None, typer.Option(show_default="the preset's")] = None,
    learning_rate: Annotated[float | None, typer.Option(show_default="the preset's")] = None,
    batch_size: Annotated[int, typer.Option(help="Frames a step.")] = 1,
    short_side: Annotated[
        int | None, typer.Option(help="Of the network's input.", show_default="the checkpoint's")
    ] = None,
    until: Annotated[
        float,
        typer.Option(
            help="Stop early at this multiple of the source domain's disagreement; 0 runs all epochs."
        ),
    ] = 1.1,
    fit: Annotated[
        int, typer.Option(help="Drawn people to fit the semantic head to first; 0 keeps the head.")
    ] = 32,
) -> None:
    """Adapt a checkpoint to unlabelled pictures (SOC), and keep the weights from before it did harm."""
    from modnet_lib.data.loaders import portrait_readers
    from modnet_lib.network import load_checkpoint, save_checkpoint
    from modnet_lib.training import adaptation

    with _mistakes():
        if preset not in adaptation.PRESETS:
            raise ValueError(f"preset must be one of {', '.join(adaptation.PRESETS)}, got {preset!r}")
        if output.suffix != ".safetensors":
            raise ValueError(f"the output must end in .safetensors, got {output}")
        network = load_checkpoint(paths.PRETRAINED if str(model) == "shipped" else model)
        given = {"epochs": epochs, "learning_rate": learning_rate, "short_side": short_side}
        config = replace(
            adaptation.PRESETS[preset],
            batch_size=batch_size,
            until=until,
            **{name: value for name, value in given.items() if value is not None},
        )
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
        table.add_row(
            str(record["epoch"]), *(f"{record.get(key, 0):.4f}" for key in ("loss", "disagreement", "drift"))
        )
    console.print(table)
    _say(f"{output} has the weights of epoch {result.epoch}. {result.stopped}")


@app.command()
def evaluate(
    model: Annotated[
        Path,
        typer.Option(
            help="A checkpoint, ours or the authors'; or a folder of mattes named like the benchmark's pictures.",
            show_default="the shipped checkpoint",
        ),
    ] = paths.PRETRAINED,
    benchmark: Annotated[
        str,
        typer.Option(
            help="ppm100, amd, d646, p3m500p, p3m500np, crgnn_r, ccp, spm100 or spm_shift; a data set with mattes, "
            "NAME or NAME:SPLIT; or a folder with photographs in image/ and mattes in alpha/."
        ),
    ] = "spm100",
    protocol: Annotated[
        str, typer.Option(help="paper; squash: 512 x 512; unknown: only the trimap's band.")
    ] = "paper",
    short_side: Annotated[int | None, typer.Option(help="Instead of the protocol's 512.")] = None,
    count: Annotated[int | None, typer.Option(help="Maximum number of pictures.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="CSV with a line for each picture; an interrupted run continues.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that compute metrics beside the model.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Pictures of the same size at once.")] = 1,
) -> None:
    """Measure a checkpoint, or another tool's mattes, on a benchmark."""
    from modnet_lib.data.readers import benchmark as read_benchmark
    from modnet_lib.evaluation.methods import open_model
    from modnet_lib.evaluation.protocol import PROTOCOLS, run_benchmark
    from modnet_lib.evaluation.records import mean_errors, worst_first

    with _mistakes():
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        chosen = PROTOCOLS[protocol]
        records = run_benchmark(
            open_model(model),
            read_benchmark(benchmark, count=count),
            protocol=replace(chosen, side=short_side) if short_side else chosen,
            output=output,
            workers=workers,
            batch_size=batch_size,
        )
    table = Table("metric", "mean", title=f"{benchmark}, {len(records)} pictures, protocol {protocol}")
    for name, value in mean_errors(records).items():
        table.add_row(name.upper(), f"{value:.4f}")
    console.print(table)
    table = Table("worst", "MAD", "MSE")
    for record in worst_first(records)[:10]:
        table.add_row(record.name, f"{record.errors['mad']:.4f}", f"{record.errors['mse']:.4f}")
    seconds = sum(record.seconds for record in records)
    console.print(table, f"{1000 * seconds / len(records):.0f} ms a picture for the model")


@app.command()
def reproduce(
    profile: Annotated[str, typer.Option(help="smoke, laptop, full or paper.")] = "smoke",
    only: Annotated[list[str] | None, typer.Option(help="A notebook's number; may be repeated.")] = None,
    force: Annotated[bool, typer.Option(help="Also run what is unchanged.")] = False,
) -> None:
    """Run the notebooks through papermill and write an index of them."""
    from modnet_lib.reproduce import reproduce as run_series

    with _mistakes():
        runs = run_series(profile, only=only or (), force=force, console=console)
    if any(run.status == "failed" for run in runs):
        raise typer.Exit(1)


def _bar(title: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    return lambda jobs, count: progress.track(jobs, title, count, console=console)


def _show_bytes(bar: progress.Progress, task: progress.TaskID, done: int, total: int | None) -> None:
    bar.update(task, completed=done, total=total)


@data.command("list")
def list_sources() -> None:
    """Show every data set: what it is, how it is to be had, and whether it is at hand."""
    from modnet_lib.data.sources import sources

    with _mistakes():
        root = paths.external_data()
    table = Table("name", "what", "access", "at hand", "published")
    for source in sources().values():
        counts = [f"{split} {layout.count:,}" for split, layout in source.splits.items() if layout.count]
        here = root is not None and (root / source.folder).is_dir()
        table.add_row(source.name, source.title, source.access, "yes" if here else "no", ", ".join(counts))
    console.print(table)
    _say(f"MODNET_DATA is {root or 'not set'}")


@data.command("check")
def check_source(name: Name, root: Root = None) -> None:
    """Decode every file of a data set; name what is missing, damaged or does not fit."""
    from modnet_lib.data.sources import check

    with _mistakes():
        report = check(name, root, _bar("checking"))
    for problem in report.problems:
        _say(problem, "red")
    if report.absent:
        _say(f"not there: {', '.join(report.absent)}")
    _say(f"{name}: {report.fine:,} fine, {len(report.problems):,} wrong")
    if report.problems:
        raise typer.Exit(1)


@data.command("fetch")
def fetch_source(name: Name, root: Root = None) -> None:
    """Download an open data set; of any other, say where to get it. Then check it."""
    from modnet_lib.data.downloads import fetch
    from modnet_lib.data.sources import find_source

    with _mistakes():
        source = find_source(name)
        folder = root or source.root()
        if not source.archives and not folder.is_dir():
            _say(f"{source.title} cannot be fetched ({source.access}): {source.get}. {source.url}")
            _say(f"Licence: {source.licence}. Put it into {folder}, then run: modnet data check {name}")
            _say(f"Note: {source.note}" if source.note else "")
            raise typer.Exit(1)
        for archive in source.archives:
            target = folder / archive.get("into", "")
            if target.exists():
                _say(f"{target} is there")
                continue
            columns = (*progress.Progress.get_default_columns(), progress.DownloadColumn())
            with progress.Progress(*columns, console=console) as bar:
                show = partial(_show_bytes, bar, bar.add_task(target.name, total=None))
                known, keep = archive.get("sha256"), archive.get("keep", ())
                digest = fetch(archive["url"], target, sha256=known, keep=keep, progress=show)
            _say(f"{target} has been fetched, SHA-256 {digest}")
            if not known:
                _say(f"Nothing to compare it with: to pin it, write it into {paths.MANIFEST}")
    check_source(name, root)


@data.command("make")
def make_source(
    name: Annotated[str, typer.Argument(help="spm100, spm_shift or spm_video.")],
    root: Root = None,
    size: Annotated[int | None, typer.Option(help="Side, pixels.", show_default="1024; videos 512")] = None,
) -> None:
    """Draw one of the project's own benchmarks, whose mattes are exact; what is there is kept."""
    from modnet_lib.data import spm
    from modnet_lib.data.sources import find_source

    with _mistakes():
        if name not in spm.WRITERS:
            raise ValueError(f"{name!r} cannot be made: expected one of {', '.join(spm.WRITERS)}")
        folder = root or find_source(name).root()
        images = spm.WRITERS[name](folder, **({"size": size} if size else {}))
    _say(f"{folder}: {len(images)} pictures with mattes")


@data.command("screen")
def screen_folder(
    folder: Annotated[Path, typer.Argument(help="Pictures that are to serve as backgrounds.")],
    share: Annotated[float, typer.Option(help="Name pictures of which more than this is somebody.")] = 0.02,
) -> None:
    """Name the pictures of a folder that show people, as the shipped network sees it."""
    from modnet_lib.data.sources import background_files
    from modnet_lib.inference import Matter

    with _mistakes():
        matter, files, found = Matter.from_pretrained(short_side=256), background_files(folder), 0
        for file in _bar("screening")(files, len(files)):
            people = float((matter.alpha(file) > 0.5).mean())
            if people > share:
                found += 1
                _say(f"{100 * people:5.1f} % {file}")
    _say(f"{found} of {len(files)} may show people; look at them")


@data.command("prepare")
def prepare_source(
    name: Name,
    root: Root = None,
    split: Annotated[
        str | None, typer.Option(help="Which split.", show_default="the first with masks")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", show_default="one a core")] = None,
    teacher: Annotated[Path | None, typer.Option(help="An ONNX network that labels photographs.")] = None,
    size: Annotated[
        int | None, typer.Option(help="The teacher's input, pixels.", show_default="its own")
    ] = None,
    mean: Annotated[float, typer.Option(help="Subtracted from RGB in [0, 1].")] = 0.5,
    std: Annotated[float, typer.Option(help="Then divided by.")] = 0.5,
    activation: Annotated[str, typer.Option(help="Applied to its output: none, sigmoid or minmax.")] = "none",
    agreement: Annotated[
        float, typer.Option(help="Keep mattes whose overlap (IoU) with the second opinion is at least this.")
    ] = 0.86,
) -> None:
    """Turn masks into pseudo-mattes in data/cache/prepared; an interrupted call continues.

    With --teacher, label photographs with a strong network instead. NAME is then a data set, whose mattes go to
    $MODNET_DATA/teacher/NAME, or a folder with photographs in image/, whose mattes go to alpha/ beside it. A mask of
    the photograph, or else the shipped model, is the second opinion.
    """
    from modnet_lib.data.pseudo_mattes import prepare, prepared_folder
    from modnet_lib.data.sources import find_items, find_source

    if teacher:
        options = {"size": size, "mean": mean, "std": std, "activation": activation}
        _label(name, root, split, teacher, options, agreement)
        return
    with _mistakes():
        splits = find_source(name).splits
        masked = [key for key, layout in splits.items() if {"mask", "label"} & layout.files.keys()]
        if not masked:
            raise ValueError(f"{name} has no masks to prepare: its mattes are used as they are")
        items = find_items(name, root, split or masked[0])
        ready, failures = prepare(items, prepared_folder(name), workers, _bar("pseudo-mattes"))
    for key, reason in sorted(failures.items()):
        _say(f"{key}: {reason}", "red")
    _say(f"{name}: {len(ready):,} ready, {len(failures):,} failed")
    if failures:
        raise typer.Exit(1)


def _label(
    name: str, root: Path | None, split: str | None, file: Path, options: dict[str, Any], agreement: float
) -> None:
    from modnet_lib.data.teacher import Teacher, label_photographs, places_for
    from modnet_lib.inference import Matter
    from modnet_lib.provenance import checksum

    with _mistakes():
        teacher = Teacher(file, **options)
        items, places = places_for(name, root, split)
        settings = options | {"teacher": checksum(file)}
        labels = label_photographs(
            items,
            teacher,
            places,
            Matter.from_pretrained().alpha,
            settings=settings,
            threshold=agreement,
            track=_bar("labelling"),
        )
    dropped = [label for label in labels if label.reason]
    for label in dropped:
        _say(f"{label.id}: {label.reason}", "red")
    _say(f"{len(labels) - len(dropped):,} mattes in {places[0]}; {len(dropped):,} dropped, see {places[1]}")


if __name__ == "__main__":
    app()
