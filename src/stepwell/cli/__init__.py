"""The command line: `stepwell`.

`app` puts the commands together; each command is a module, or a package, of its own.
"""

import sys

__all__ = ["main"]

_EXTRA = {"typer", "rich"}


def main() -> None:
    """Run the command line. What it needs beside the library is imported here, not before."""
    try:
        from stepwell.cli.app import app  # noqa: PLC0415 - the library works without the extra
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        sys.exit(
            f"stepwell: the command line needs the package {package}, which is not installed: "
            "pip install 'stepwell[cli]', or pip install 'stepwell[demo]' for `stepwell demo` too"
        )
    app()
