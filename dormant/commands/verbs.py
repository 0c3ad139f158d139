"""The verbs of a sweep: what `hunt`, `diff`, `profile` and claims are told for one pair, and how they say how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import typer

from dormant.catalogue import PairDescription, pairs_of_set
from dormant.commands.behaviour import profile
from dormant.commands.hunt import hunt
from dormant.commands.weights import diff
from dormant.errors import BadInput
from dormant.records import write_json
from dormant.sweeps.job import Job, Needs
from dormant.sweeps.outcome import OUTCOME, RESULT, Outcome
from dormant.sweeps.pair_list import ListedPair, Option
from dormant.sweeps.store import Store

NO_NEEDS = Needs()
UNFINISHED = "unfinished"  # what becomes the result, with the verb's own journals
USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer has no name of its own for it


@dataclass(frozen=True)
class Verb:
    """A verb: whether it runs on figures without weights, what writes its result to a folder, and its exit statuses."""

    writes: Callable[[Path], list[str]]
    meanings: Mapping[int, str]
    of_figures: bool = False


VERBS = {
    "hunt": Verb(
        lambda folder: ["--out", str(folder), "--json", str(folder / "hunt.json")],
        {0: "backdoored or taught", 1: "clean or undecided"},
    ),
    "diff": Verb(
        lambda folder: ["--json", str(folder / "delta.json")],
        {0: "compared", 1: "some tensors could not be compared"},
    ),
    "profile": Verb(lambda folder: ["--json", str(folder / "profile.json")], {0: "profiled"}),
    "claims": Verb(
        lambda folder: [f"--reports={folder}"],
        {0: "as recorded or supported", 1: "some refuted, changed or broken: see the findings"},
        of_figures=True,
    ),
}


@dataclass(frozen=True)
class Plan:
    """What a sweep does with each pair: a verb, the folder that holds the pairs' folders, and words for pytest.

    store: what keeps these folders, where it is known by a URL alone.
    """

    verb: str
    folder: Path
    words: tuple[str, ...] = ()
    store: Store | None = None

    def job(self, listed: ListedPair, needs: Needs = NO_NEEDS) -> Job:
        """The job of a pair."""
        arguments, folder = self.arguments(listed), self.folder / listed.name
        work = partial(run_verb, self.verb, listed.pair, arguments, folder)
        identity = {"verb": self.verb, "arguments": arguments}
        store = self.store and self.store.at(listed.name)
        return Job(listed.name, folder, folder / RESULT / OUTCOME, work, identity, needs, store)

    def arguments(self, listed: ListedPair) -> list[str]:
        """What the verb is told of the pair, without where it writes."""
        pair, flags = listed.pair, [word for name, value in listed.options.items() for word in _flag(name, value)]
        if self.verb != "claims":
            return ["--base", str(pair.base), "--dormant", str(pair.dormant), *flags]
        known = pairs_of_set("all").get(pair.name) == pair
        return [*self.words, "--pair", pair.name if known else f"{pair.name}={pair.base}:{pair.dormant}", *flags]

    def check(self, listed: Sequence[ListedPair]) -> None:
        """Raises BadInput for an unknown verb, and with every pair that the verb does not run on as the list says."""
        if self.verb not in VERBS:
            raise BadInput(f"a verb must be one of {', '.join(VERBS)}; got {self.verb!r} at --verb; correct it")
        faults = list[str]()
        for one in listed:
            if str(one.options.get("device", "")).startswith("cuda:"):
                faults.append(f"{one.name}: a sweep gives each pair its GPU, and its device is cuda or auto")
            if one.pair.base is None and not VERBS[self.verb].of_figures:
                faults.append(f"{one.name}: published figures only, and {self.verb} needs weights")
            elif self.verb != "claims":
                faults += [f"{one.name}: {fault}" for fault in self._faults(one)]
        if faults:
            raise BadInput(
                f"{self.verb} must take every pair with its options; got {'; '.join(faults)}; correct the list"
            )

    def _faults(self, listed: ListedPair) -> list[str]:
        command: Any = typer.main.get_command(_APP)
        try:
            with TemporaryDirectory() as folder:
                words = [*self.arguments(listed), *VERBS[self.verb].writes(Path(folder))]
                command.commands[self.verb].make_context(self.verb, words)
        except BadInput as error:
            return [str(error)]
        except USAGE_ERROR as error:
            return [str(getattr(error, "message", error))]
        return []


def run_verb(verb: str, pair: PairDescription, arguments: Sequence[str], folder: Path) -> None:
    """Run a verb into `folder`/unfinished and then make that the result, whole; a killed one goes on from its journals."""
    unfinished = folder / UNFINISHED
    unfinished.mkdir(parents=True, exist_ok=True)
    words = [*arguments, *VERBS[verb].writes(unfinished)]
    status = _run_claims(words) if verb == "claims" else int(_APP([verb, *words], standalone_mode=False) or 0)
    if status not in VERBS[verb].meanings:
        raise RuntimeError(f"{verb} ended with exit status {status}")
    write_json(unfinished / OUTCOME, Outcome(verb, pair, status, VERBS[verb].meanings[status]))
    os.replace(unfinished, folder / RESULT)


def _run_claims(words: Sequence[str]) -> int:
    import pytest

    # In this process, which has imported what claims import and which a kill ends whole. pytest rewrites the assertions of what
    # it imports itself, as all claims; that packages with plugins for it are here already is no fault.
    sys.path.insert(0, os.getcwd())
    quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    status = int(pytest.main(["-p", "dormant.plugin", "-p", "no:cacheprovider", *quiet, *words]))
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise BadInput("claims must be selected; got none for this pair; change -m, -k or --claims")
    if status == pytest.ExitCode.USAGE_ERROR:
        raise BadInput("pytest must accept the options; got a usage error; see the job's log")
    return status


def _flag(name: str, value: Option) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, str(value)]


_APP = typer.Typer(pretty_exceptions_enable=False)
for _name, _command in (("hunt", hunt), ("diff", diff), ("profile", profile)):
    _APP.command(_name)(_command)
