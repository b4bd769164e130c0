"""The commands, put together."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stepwell.cli.demo import command as demo
from stepwell.cli.worker import command as worker
from stepwell.errors import StepwellError

__all__ = ["app"]


class Commands(TyperGroup):
    """All commands; an error of Stepwell, which names its remedy, is shown without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except StepwellError as error:
            typer.echo(f"stepwell: {error}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False)
app.command()(demo.demo)
app.command()(worker.worker)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stepwell {version('stepwell')}")
        raise typer.Exit


@app.callback()
def stepwell(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Durable execution for event-driven async Python, on plain Redis."""
