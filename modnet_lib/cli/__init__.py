"""The command line, ``modnet``: one module for each group of commands."""

import typer

from modnet_lib.cli.common import add_commands
from modnet_lib.cli.data import check, fetch, list_sets, prepare
from modnet_lib.cli.pictures import export, matte, video
from modnet_lib.cli.training import adapt, evaluate, grid, train

app = typer.Typer(help="Trimap-free portrait matting, from data to matte.", no_args_is_help=True)
data_app = typer.Typer(help="List, download, check and prepare data sets.", no_args_is_help=True)
add_commands(app, matte, video, export, train, grid, adapt, evaluate)
add_commands(data_app, list_sets, check, fetch, prepare)
app.add_typer(data_app, name="data")

__all__ = ["app"]
