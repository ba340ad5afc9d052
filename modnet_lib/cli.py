"""The command line: ``modnet matte``, ``modnet train``, ``modnet evaluate``, ``modnet reproduce``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from modnet_lib import paths

app = typer.Typer(help="Trimap-free portrait matting, from data to matte.", no_args_is_help=True)
console = Console()
Checkpoint = Annotated[
    Path, typer.Option(help="Another checkpoint than the shipped one.", show_default="the shipped one")
]


@app.command()
def matte(
    images: Annotated[list[Path], typer.Argument(help="Pictures to cut out.")],
    folder: Annotated[Path, typer.Option(help="Where the cut-outs go.")] = Path("mattes"),
    checkpoint: Checkpoint = paths.PRETRAINED,
    alpha_only: Annotated[
        bool, typer.Option("--alpha", help="Write the matte in the place of the cut-out.")
    ] = False,
) -> None:
    """Cut people out of pictures: a PNG with transparency for each."""
    from modnet_lib.inference import Matter

    targets = [folder / f"{image.stem}.png" for image in images]
    twice = sorted({target.name for target in targets if targets.count(target) > 1})
    if twice:
        console.print(
            f"[red]several pictures would be written to {', '.join(twice)}; cut them out separately[/red]"
        )
        raise typer.Exit(1)
    try:
        matter = Matter.from_pretrained(checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        for image, target in zip(images, targets, strict=True):
            cutout = matter.cutout(image)
            (cutout.getchannel("A") if alpha_only else cutout).save(target)
            console.print(f"{image} → {target}")
    except (ValueError, FileNotFoundError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A profile's name or a recipe file.")],
    folder: Annotated[Path, typer.Option(help="Where the run lives; an interrupted one goes on.")],
) -> None:
    """Train a network as a recipe describes it."""
    from modnet_lib.profiles import Profile
    from modnet_lib.training.recipes import supervised

    try:
        supervised(Profile.load(recipe), folder)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error


@app.command()
def evaluate(
    checkpoint: Checkpoint = paths.PRETRAINED,
    count: Annotated[int, typer.Option(help="Pictures.")] = 100,
    short_side: Annotated[
        int | None, typer.Option(help="Of the network's input; the checkpoint's own.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Also write every picture's errors as JSON.")] = None,
) -> None:
    """Measure a checkpoint on the validation photographs of Clothing-Co-Parsing (pseudo ground truth)."""
    from modnet_lib.inference import Matter
    from modnet_lib.training.recipes import measure

    try:
        matter = Matter.from_pretrained(checkpoint, short_side=short_side)
        result = measure(matter, count)
    except (ValueError, FileNotFoundError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    table = Table("metric", "mean", title=f"{result['data']}, {result['pictures']} pictures")
    for name, value in result["mean"].items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    if output:
        import json

        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@app.command()
def reproduce(
    profile: Annotated[str, typer.Option(help="smoke, laptop, full or paper.")] = "smoke",
    only: Annotated[list[str] | None, typer.Option(help="A notebook's number; may be repeated.")] = None,
    force: Annotated[bool, typer.Option(help="Also run what is unchanged.")] = False,
) -> None:
    """Run the notebooks through papermill and write an index of them."""
    from modnet_lib.reproduce import reproduce as run_series

    try:
        runs = run_series(profile, only=only or (), force=force, console=console)
    except (ValueError, FileNotFoundError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    if any(run.status == "failed" for run in runs):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
