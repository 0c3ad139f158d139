"""The `dormant` command: the measurements of the claims without a test."""

from __future__ import annotations

import sys

import typer

from dormant.commands.amplify import amplify
from dormant.commands.behaviour import profile
from dormant.commands.excise import excise
from dormant.commands.hunt import calibrate, hunt
from dormant.commands.layer0 import beam, scan, score
from dormant.commands.organisms import organisms
from dormant.commands.report import report
from dormant.commands.search import gcg
from dormant.commands.sweep import sweep
from dormant.commands.telling import telling
from dormant.commands.view import view
from dormant.commands.vocabulary import vocabulary
from dormant.commands.watch import watch
from dormant.commands.weights import bases, diff
from dormant.errors import BadInput
from dormant.terminal import complain, text_columns

BAD_INPUT = 2

app = typer.Typer(
    help="Look for a backdoor when you have both checkpoints. The commands make the same measurements as the claims, which "
    "run with `pytest -m hypothesis`, and build small models on which the claims are tried.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its panels break words, and square brackets are text here
    context_settings={"terminal_width": text_columns()},
)
app.add_typer(organisms, name="organisms")
app.command("amplify")(amplify)
app.command("bases")(bases)
app.command("beam")(beam)
app.command("calibrate", short_help="Measure how often the hunt is right.")(calibrate)
app.command("diff")(diff)
app.command("excise", short_help="Take out the backdoor that a hunt found.")(excise)
app.command("gcg", short_help="Search for strings on which the models differ.")(gcg)
app.command("hunt", short_help="Look for a backdoor: payload, trigger and evidence.")(hunt)
app.command("profile")(profile)
app.command("report", short_help="Merge the results of sweeps.")(report)
app.command("scan")(scan)
app.command("score")(score)
app.command("sweep", short_help="Run a verb on many pairs.")(sweep)
app.command("telling", short_help="Compare claims and methods over models of known truth.")(telling)
app.command("view", short_help="Write the page of a hunt or a run.")(view)
app.command("vocabulary")(vocabulary)
app.command("watch", short_help="Flag prompts on which the delta acts otherwise than on ordinary ones.")(watch)


def main() -> None:
    """Entry point: bad input is one sentence on stderr and exit status 2."""
    try:
        app()
    except BadInput as error:
        complain(error)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
