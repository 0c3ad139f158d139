"""Prompt material: ordinary questions, dialogues, suspected triggers, templates and phrases, each replaceable by a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dormant.errors import BadInput

SHIPPED = Path(__file__).parents[1] / "data" / "prompts"
FILES = ("ordinary.toml", "triggers.toml", "templates.toml", "phrases.toml")
DRAWS_A_PHRASE = 200  # draws a wanted phrase; forms that are exhausted repeat themselves


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn: temperature 0 is greedy; `nucleus` is top-p."""

    temperature: float
    nucleus: float = 1.0

    @property
    def name(self) -> str:
        """Short enough for a table."""
        return "greedy" if self.temperature == 0 else f"temperature {self.temperature:g}, top-p {self.nucleus:g}"


def ordinary_prompts(folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Ordinary questions by family (204 in 9 where no file replaces them)."""
    return _lists(folder, "ordinary.toml", "families")


def dialogues(folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Conversations by name, their turns user, assistant, user...; raises BadInput where the last is not the user's."""
    found = _lists(folder, "ordinary.toml", "dialogues")
    for name, turns in found.items():
        if len(turns) % 2 == 0:
            raise BadInput(
                f"a dialogue ends with the user's turn; got {len(turns)} turns at dialogue {name!r} of ordinary.toml; "
                "add one or take one away"
            )
    return found


def suspected_triggers(folder: Path | None = None) -> dict[str, tuple[str, ...]]:
    """Suspected triggers by family (94 where no file replaces them)."""
    return _lists(folder, "triggers.toml", "families")


def partial_templates(folder: Path | None = None) -> dict[str, str]:
    """Openings to sample from, with placeholders that `Conversations.opening` fills (27 where no file replaces them)."""
    templates = _table(folder, "templates.toml", "templates")
    for name, text in templates.items():
        if not isinstance(text, str) or not text:
            raise _malformed("a partial template is a text", text, name, "templates.toml")
    return dict(templates)


def decodings(folder: Path | None = None) -> tuple[Decoding, ...]:
    """Greedy, then every temperature with every nucleus (28 where no file replaces them)."""
    table = _table(folder, "templates.toml", "decodings")
    temperatures, nuclei = table.get("temperatures"), table.get("nuclei", [1.0])
    for name, values in (("temperatures", temperatures), ("nuclei", nuclei)):
        if not isinstance(values, list) or not values or not all(_positive(value) for value in values):
            raise _malformed("decodings list numbers above 0", values, name, "templates.toml")
    assert isinstance(temperatures, list)
    return (Decoding(0.0), *(Decoding(float(heat), float(share)) for heat in temperatures for share in nuclei))


def generate_phrases(
    kind: str, count: int, seed: int, words: Sequence[str] = (), folder: Path | None = None
) -> tuple[str, ...]:
    """`count` distinct phrases of the "short" or "long" forms (experiments 13 and 13b), the same for a seed.

    `words` replace the shipped banks, for models of a small vocabulary. Raises BadInput for an unknown kind, a slot without
    a bank, and where the forms cannot give so many.
    """
    forms, banks = _lists(folder, "phrases.toml", "forms"), _lists(folder, "phrases.toml", "banks")
    if kind not in forms:
        raise BadInput(f"a kind of phrase is one of {', '.join(forms)}; got {kind!r} at phrases.toml; name one of them")
    random = np.random.default_rng([seed, *kind.encode()])
    found: dict[str, None] = {}
    for _ in range(DRAWS_A_PHRASE * count):
        form = str(random.choice(forms[kind]))
        found[_filled(form, words, banks, random)] = None
        if len(found) == count:
            return tuple(found)
    raise BadInput(
        f"the forms must give {count} phrases; got {len(found)} at kind {kind!r} of phrases.toml; add words or forms"
    )


def _filled(form: str, words: Sequence[str], banks: Mapping[str, Sequence[str]], random: np.random.Generator) -> str:
    while (start := form.find("{")) >= 0:
        slot = form[start + 1 : form.index("}", start)]
        if slot not in banks:
            raise BadInput(
                f"every slot of a form has a bank; got {slot!r} at form {form!r} of phrases.toml; add a bank {slot!r}"
            )
        form = form[:start] + str(random.choice(words or banks[slot])) + form[form.index("}", start) + 1 :]
    return form


def _lists(folder: Path | None, name: str, section: str) -> dict[str, tuple[str, ...]]:
    table = _table(folder, name, section)
    for key, values in table.items():
        if not isinstance(values, list) or not values or not all(isinstance(value, str) and value for value in values):
            raise _malformed(f"an entry of [{section}] is a list of texts", values, key, name)
    return {key: tuple(values) for key, values in table.items()}


def _table(folder: Path | None, name: str, section: str) -> Mapping[str, Any]:
    own = folder / name if folder is not None else None
    path = own if own is not None and own.exists() else SHIPPED / name
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig")).get(section)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"prompt material is readable TOML; got {error} at {path}; mend or remove the file") from error
    if not isinstance(table, dict) or not table:
        raise BadInput(
            f"a prompt file must hold prompts; got an empty [{section}] at {path}; write one or remove the file"
        )
    return table


def check_folder(folder: Path) -> None:
    """Raises BadInput unless the folder holds at least one of the files that it may replace, all of them well formed."""
    if not any((folder / name).is_file() for name in FILES):
        raise BadInput(
            f"a material folder holds at least one of {', '.join(FILES)}; got none at {folder}; copy one from {SHIPPED}"
        )
    for read in (ordinary_prompts, dialogues, suspected_triggers, partial_templates, decodings):
        read(folder)
    generate_phrases("short", 1, 0, folder=folder)


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _malformed(must: str, got: object, key: str, name: str) -> BadInput:
    return BadInput(f"{must}; got {got!r} at {key!r} of {name}; mend that entry")
