"""Plausible one-line bugs, one at a time in a copy of the project: which tests and ledger rows notice each?

python scripts/mutants.py --record reports/mutants.json --page docs/mutants.md
python scripts/mutants.py --quick
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dormant.checkpoints.checkpoint import hash_text
from dormant.errors import BadInput
from dormant.records import from_json, read_json, to_json, write_atomically, write_json

PROJECT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("mutants.toml")
COPIED = ("dormant", "hypotheses", "tests", "scripts", "docs", "reports/ledger", "reports/telling", "conftest.py",
          "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile", "mkdocs.yml")  # fmt: skip
OWN = ("dormant", "hypotheses", "tests", "conftest")  # modules that a child must read from the copy
PLACES = 2  # in which a bug must be noticed: one alone may be a test that repeats the code
SECONDS = 900  # of work in one run: a bug may also make a program run for ever
# Imported once for all runs, since they take longer than most of the tests. None of them is a plugin of pytest.
PRELOADED = (
    "torch",
    "transformers.models.qwen2.modeling_qwen2",
    "scipy.stats",
    "sklearn.linear_model",
    "matplotlib.figure",
    "peft",
)


@dataclass(frozen=True)
class Mutant:
    """One bug: the text that it replaces in a file, what it breaks, and who must notice.

    `tests` are files or folders; a row of `ledger` is `pair: expression`, as `pytest -m hypothesis --pair pair -k expression`.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]
    ledger: tuple[str, ...] = ()
    quick: bool = False


@dataclass(frozen=True)
class Noticed:
    """Where a bug was noticed: test files, and rows of the ledger."""

    files: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    @property
    def places(self) -> int:
        """How many count: each test file, and the ledger once."""
        return len(self.files) + bool(self.rows)

    def beyond(self, before: Noticed) -> Noticed:
        """Without what failed before any bug was planted, which says nothing."""
        return Noticed(
            tuple(name for name in self.files if name not in before.files),
            tuple(name for name in self.rows if name not in before.rows),
        )


@dataclass(frozen=True)
class Run:
    """What one run saw of a bug; digest: of the state that it saw, by `state_digest`."""

    digest: str
    noticed: Noticed


@dataclass(frozen=True)
class MutantTable:
    """The whole table, as scripts/mutants.toml holds it."""

    mutants: tuple[Mutant, ...]


def read_mutants(path: Path = TABLE) -> tuple[Mutant, ...]:
    """The mutants of a table; raises BadInput for one that does not fit."""
    return from_json(MutantTable, tomllib.loads(path.read_text(encoding="utf-8")), path).mutants


def read_record(path: Path | None) -> dict[str, Run]:
    """The runs that a record holds by the bug's name; none where there is no record yet."""
    if path is None or not path.exists():
        return {}
    return {name: from_json(Run, run, path) for name, run in read_json(path).items()}


def state_digest(mutant: Mutant, project: Path = PROJECT) -> str:
    """Of what a run depends on most: the table's entry, the file that the bug is in, and the tests that must notice."""
    named = [project / name for name in (mutant.file, *mutant.tests)]
    files = [file for path in named for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return hash_text(json.dumps(to_json(mutant)), *(file.read_text(encoding="utf-8") for file in files))


def mutated(text: str, mutant: Mutant) -> str:
    """The file's text with the bug. Raises BadInput unless what it replaces stands there exactly once."""
    if text.count(mutant.old) != 1:
        raise BadInput(
            f"a mutant's old text must stand exactly once in its file; got {text.count(mutant.old)} at {mutant.name!r} in "
            f"{mutant.file}; the table is stale: write the line as it is now"
        )
    return text.replace(mutant.old, mutant.new)


@contextmanager
def copied(project: Path = PROJECT) -> Iterator[Path]:
    """A copy of what tests and claims read, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source, target = project / name, Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
        yield Path(folder)


@contextmanager
def planted(copy: Path, mutant: Mutant) -> Iterator[None]:
    """Inside, the copy has the bug."""
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    try:
        _rewrite(path, mutated(text, mutant))
        yield
    finally:
        _rewrite(path, text)


def _rewrite(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    for compiled in path.parent.glob(
        f"__pycache__/{path.stem}.*"
    ):  # Python compares size and seconds, which may be equal
        compiled.unlink()


def noticed(copy: Path, tests: Iterable[str], ledger: Iterable[str], enough: int = PLACES) -> Noticed:
    """Who fails in the copy as it stands: no more test files than are enough.

    The ledger, which takes longest, is asked where the tests alone are too few.
    """
    files = {_file_of(name) for name, _ in _failures(copy, ["-m", "not benchmark and not slow", *tests], enough)}
    rows = list[str]()
    for row in ledger if len(files) < enough else ():
        pair, _, expression = row.partition(": ")
        rows += [name for _, name in _failures(copy, ["-m", "hypothesis", "--pair", pair, "-k", expression])]
    return Noticed(tuple(sorted(files)), tuple(sorted(rows)))


def _file_of(classname: str) -> str:
    return classname.replace(".", "/") + ".py"


class _Enough:
    """A plugin of pytest: behind its first failure a file says nothing more, and behind so many of them no file does."""

    def __init__(self, files: int) -> None:
        self._files, self._failed = files, set[Path]()

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.excinfo is not None and not call.excinfo.errisinstance(self._skipped()):
            self._failed.add(item.path)

    def pytest_runtest_setup(self, item: Any) -> None:
        if item.path in self._failed or len(self._failed) >= self._files:
            raise self._skipped()("enough is known")

    def _skipped(self) -> type[BaseException]:
        import pytest

        return pytest.skip.Exception


def _failures(copy: Path, arguments: Sequence[str], enough: int = 1 << 30) -> list[tuple[str, str]]:
    """The module and the name of the tests that failed or broke in one run of pytest, the first of each file."""
    report, log = copy / "report.xml", copy / "report.log"
    report.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    # a child's modules are there before pytest, which cannot rewrite their assertions: no fault
    options = [
        "-W",
        "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
        "-q",
        "--tb=short",
        "--hypothesis-seed=0",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    child = context.Process(
        target=_run, args=(copy, log, [*options, f"--reports={copy / 'reports'}", *arguments], enough)
    )
    child.start()
    child.join()
    if child.exitcode == -signal.SIGXCPU:
        return [("", f"not finished in {SECONDS} seconds")]
    if not report.exists():
        raise BadInput(
            f"a run of pytest must write its report; got none at pytest {' '.join(arguments)}; correct the table\n"
            f"{log.read_text(encoding='utf-8')[-2000:]}"
        )
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    if not cases:
        raise BadInput(f"a mutant's tests must exist; got none at pytest {' '.join(arguments)}; correct the table")
    failed = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    # a file that cannot be imported has its name in place of a test's
    return [(str(case.get("classname") or case.get("name")), str(case.get("name"))) for case in failed]


def _run(copy: Path, log: Path, arguments: Sequence[str], enough: int) -> None:
    """What a child process does: pytest in the copy, with the copy's own modules."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 60))
    with log.open("w", encoding="utf-8") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]
    sys.dont_write_bytecode = False  # the copy has none yet, and compiling it takes longer than most of the tests
    os.chdir(copy)
    sys.path[:] = [str(copy), *(entry for entry in sys.path if entry not in ("", str(PROJECT)))]
    os.environ["PYTHONPATH"] = str(copy)  # for the processes that tests start
    import hypothesis
    import pytest

    # A bug is to be noticed; its smallest example would take most of the time.
    hypothesis.settings.register_profile("mutants", phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate))
    hypothesis.settings.load_profile("mutants")
    sys.exit(pytest.main(list(arguments), plugins=[_Enough(enough)]))


def page(mutants: Sequence[Mutant], record: Mapping[str, Run]) -> str:
    """The table of all bugs and who noticed, as Markdown, by a record's runs; those without one are named as not run."""
    found = {mutant.name: record[mutant.name].noticed for mutant in mutants if mutant.name in record}
    caught = sum(noticed.places >= PLACES for noticed in found.values())
    left = f" {len(mutants) - len(found)} were not run." if len(found) < len(mutants) else ""
    lines = [
        "# What the tests notice",
        "",
        "`make mutants` plants plausible one-line bugs in a copy of the project, one at a time, and runs the tests and ledger",
        f"rows that should notice. A bug must be noticed in {PLACES} places, two test files or a test file and the ledger: one",
        f"alone may be a test that repeats the code. No more than {PLACES} test files are asked for, and the ledger, which",
        "takes longest, only where fewer notice. `make mutants-quick` plants the six marked with a star; CI runs it.",
        "",
        "Every row is what a run saw, as `reports/mutants.json` keeps it until the bug, its file or its tests change.",
        "",
        f"{caught} of {len(mutants)} bugs are noticed in {PLACES} places or more.{left} They are in `scripts/mutants.toml`.",
        "",
        "| bug | file | what it breaks | noticed by |",
        "|---|---|---|---|",
    ]
    for mutant in mutants:
        star, file = "\\*" if mutant.quick else "", mutant.file.removeprefix("dormant/")
        lines.append(f"| {mutant.name}{star} | `{file}` | {mutant.breaks} | {_told(found.get(mutant.name))} |")
    return "\n".join(lines) + "\n"


def _told(where: Noticed | None) -> str:
    if where is None:
        return "not run"
    rows = len(where.rows)
    ledger = [f"ledger: {rows} row{'s' if rows > 1 else ''}"] if rows else []
    return ", ".join([*(f"`{name.removeprefix('tests/')}`" for name in where.files), *ledger]) or "nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Plants every bug, or the quick ones; 1 where one is noticed in too few places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the few that CI plants")
    parser.add_argument("--only", nargs="+", default=[""], help="those whose name holds one of these texts")
    parser.add_argument("--tested", action="store_true", help="without a run before: the tests have just passed")
    parser.add_argument("--record", type=Path, help="the JSON file that keeps runs; what it holds is not run again")
    parser.add_argument("--page", type=Path, help="the Markdown file to write; it says which were not run")
    given = parser.parse_args(arguments)
    table = read_mutants()
    kept = read_record(given.record)
    record = {
        one.name: kept[one.name] for one in table if one.name in kept and kept[one.name].digest == state_digest(one)
    }
    asked = [
        mutant
        for mutant in table
        if any(text in mutant.name for text in given.only) and (mutant.quick or not given.quick)
    ]
    done = {name for name, run in record.items() if run.noticed.places >= PLACES}
    for mutant, run in _runs([mutant for mutant in asked if mutant.name not in done], given.tested):
        record[mutant.name] = run
        said = ", ".join((*run.noticed.files, *run.noticed.rows)) or "nothing"
        print(f"{'caught' if run.noticed.places >= PLACES else 'MISSED'} {mutant.name}: {said}", flush=True)
        if given.record:
            write_json(given.record, {one.name: record[one.name] for one in table if one.name in record})
    if given.page:
        write_atomically(given.page, page(table, record))
    return int(any(record[mutant.name].noticed.places < PLACES for mutant in asked))


def _runs(mutants: Sequence[Mutant], tested: bool) -> Iterator[tuple[Mutant, Run]]:
    """Plants one after the other in one copy; tested: without a run before."""
    if not mutants:
        return
    with copied() as copy:
        tests = sorted({name for mutant in mutants for name in mutant.tests})
        rows = sorted({row for mutant in mutants for row in mutant.ledger})
        before = Noticed() if tested else noticed(copy, tests, rows, enough=1 << 30)
        if before.places:
            print("fail without any bug, and do not count:", ", ".join((*before.files, *before.rows)), flush=True)
        for mutant in mutants:
            digest = state_digest(mutant, copy)
            with planted(copy, mutant):
                where = noticed(copy, mutant.tests, mutant.ledger).beyond(before)
            yield mutant, Run(digest, where)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BadInput as error:
        sys.exit(str(error))
