"""The `dormant` command: the same verbs as the tests, for people who want no test."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from dormant.commands.amplify import amplify
from dormant.commands.behaviour import profile
from dormant.commands.hunt import calibrate, hunt
from dormant.commands.layer0 import beam, scan, score
from dormant.commands.organisms import organisms
from dormant.commands.search import gcg
from dormant.commands.weights import bases, diff
from dormant.errors import BadInput

BAD_INPUT = 2

app = typer.Typer(
    help="Hunt a backdoor when you hold both checkpoints. Claims run with `pytest -m hypothesis`; these verbs are the same "
    "measurements for people who want no test, and build the organisms that the claims are tried on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(organisms, name="organisms")
app.command("amplify")(amplify)
app.command("bases")(bases)
app.command("beam")(beam)
app.command("calibrate")(calibrate)
app.command("diff")(diff)
app.command("gcg")(gcg)
app.command("hunt")(hunt)
app.command("profile")(profile)
app.command("scan")(scan)
app.command("score")(score)


def main() -> None:
    """Entry point: bad input is one sentence on stderr and exit status 2."""
    try:
        app()
    except BadInput as error:
        Console(stderr=True).print(f"dormant: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
