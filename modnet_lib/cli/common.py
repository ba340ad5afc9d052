"""Shared by the commands: consoles, options, and errors that end with a message."""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress
from rich.console import Console
from typer import Argument, Option

console = Console(quiet=os.environ.get("RANK", "0") != "0")  # of the processes of a launcher, one speaks
errors = Console(stderr=True, force_jupyter=False)  # standard output may be a picture; notebooks call `matte`

Model = Annotated[Path, Option(help="Checkpoint, ours or the authors'.", show_default="the shipped one")]
ShortSide = Annotated[int | None, Option(help="Short side of the network's input; the checkpoint's if not set.")]
Device = Annotated[str | None, Option(help="cpu, cuda or cuda:1; by default a GPU if there is one.")]
Dtype = Annotated[str, Option(help="float32, bfloat16 or float16.")]
Backend = Annotated[str, Option(help="eager, fused, compiled or onnxruntime.")]
Refine = Annotated[bool, Option("--refine", help="Sharpen edges of large pictures.")]
Specks = Annotated[float, Option(min=0, max=1, help="Remove parts of a matte smaller than this share of the picture.")]
Count = Annotated[int | None, Option(help="Maximum number of pictures.")]
ProfileName = Annotated[str, Argument(help="Name of a profile, or a YAML file.")]
Folder = Annotated[Path, Option(help="Folder of the run; give it again to resume.")]


def say(text: object, style: str | None = None, to: Console = console) -> None:
    """Print text as it is, without markup or line breaks."""
    to.print(str(text), style=style, markup=False, highlight=False, soft_wrap=True)


def bar(title: str, to: Console = console) -> Callable[[Iterable[Any], int | None], Iterable[Any]]:
    """A progress bar over an iterable and its length, if that is known."""
    return lambda jobs, count: progress.track(jobs, title, count, console=to)


def open_matter(model: Path, backend: str, dtype: str, **options: Any) -> Any:
    """Return a `modnet_lib.Matter` with these options; `dtype` is a name."""
    from modnet_lib.inference import Matter
    from modnet_lib.inference.deploy import DTYPES

    return Matter.from_pretrained(model, backend=backend, dtype=DTYPES[choice("dtype", dtype, DTYPES)], **options)


def choice(what: str, given: str, known: Iterable[str]) -> str:
    """Return `given` if it is known, else raise a `ValueError` that lists what is."""
    if given not in (known := list(known)):
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {given!r}")
    return given


def add_commands(app: typer.Typer, *commands: Callable[..., None]) -> None:
    """Add commands to an app. Their errors end with a message and exit code 1, without a traceback."""
    for command in commands:
        app.command(command.__name__.removesuffix("_sets"))(_explained(command))


def _explained(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
        except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
            hint = "; install the extras train, export or notebooks of modnet-in-notebooks"
            say(f"{error}{hint * isinstance(error, ModuleNotFoundError)}", "red", errors)
            raise typer.Exit(1) from error

    return run
