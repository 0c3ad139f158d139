"""Probes with one slot, and the exact ids that a model sees when a candidate stands in that slot."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from dormant.errors import BadInput, NotServed
from dormant.prompts.chat_template import render_chat
from dormant.prompts.space_marks import ids_behind, marks_starts, words_ids

SLOT = "{slot}"
TokenIds = tuple[int, ...]  # of a text or a prompt, as the tokenizer reads it


@dataclass(frozen=True)
class Probe:
    """An ordinary user message with exactly one `{slot}`, written directly after a word or at the start.

    A candidate in the middle is set off by one space before it, at the start by the space that follows the slot.
    `frame` names the kind of prompt: those of one frame tell less of other kinds than as many of all (`mean_interval`).
    Raises BadInput where the slot is missing, repeated, or preceded by white space.
    """

    text: str
    frame: str = ""

    def __post_init__(self) -> None:
        """Checks the slot."""
        count = self.text.count(SLOT)
        if count != 1:
            raise BadInput(f"a probe has exactly one {SLOT}; got {count} at probe {self.text!r}; mark one place")
        if self.before and self.before[-1].isspace():
            raise BadInput(
                f"{SLOT} stands directly after a word or at the start; got white space before it at probe "
                f"{self.text!r}; write 'word{SLOT} word': the candidate brings its own space"
            )

    @property
    def before(self) -> str:
        """The text before the slot."""
        return self.text.partition(SLOT)[0]

    @property
    def after(self) -> str:
        """The text after the slot."""
        return self.text.partition(SLOT)[2]

    def spaced(self, candidate: str) -> str:
        """The candidate as it stands in the slot: with one space before it, except at the start of the text."""
        bare = candidate.lstrip(" ")
        return bare if not bare or not self.before else f" {bare}"

    def fill(self, candidate: str) -> str:
        """The plain sentence with the candidate in its slot; the empty candidate leaves the ordinary sentence."""
        inserted = self.spaced(candidate)
        if not inserted and not self.before:
            return self.after.removeprefix(" ")
        return self.before + inserted + self.after


@dataclass(frozen=True)
class Prompt:
    """The ids of a whole chat prompt, up to the generation position, and where the candidate stands in them."""

    ids: tuple[int, ...]
    slot: slice

    @property
    def before(self) -> tuple[int, ...]:
        """The ids before the candidate."""
        return self.ids[: self.slot.start]

    @property
    def candidate(self) -> tuple[int, ...]:
        """The candidate's ids, verbatim."""
        return self.ids[self.slot]

    @property
    def after(self) -> tuple[int, ...]:
        """The ids after the candidate; the last one is the generation position."""
        return self.ids[self.slot.stop :]


@dataclass(frozen=True)
class OpenPrompt:
    """A probe's ids with its slot still open: what every candidate shares, and the ordinary sentence's own ids."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    plain: tuple[int, ...]

    def close(self, candidate: tuple[int, ...]) -> Prompt:
        """The prompt with these ids in its slot; without any it is the ordinary sentence's."""
        ids = self.before + candidate + self.after if candidate else self.plain
        return Prompt(ids, slice(len(self.before), len(self.before) + len(candidate)))


def keeps_its_ids(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> bool:
    """Whether ids, decoded and encoded again, stay the same."""
    text = str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    return tuple(tokenizer.encode(text, add_special_tokens=False)) == ids


class Prompter:
    """Writes probes as chat prompts of one tokenizer: default system turn, user turn, generation prompt.

    `opening` are the ids that every answer begins with (`dormant.prompts.answer_opening`): they stand behind the generation
    prompt, so that the generation position is where the models may differ. A pair's own is `Pair.prompter`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, opening: TokenIds = ()) -> None:
        """Raises NotServed for a tokenizer without a chat template."""
        if not tokenizer.chat_template:
            raise NotServed(
                f"a prompt needs a chat template; got none at tokenizer {tokenizer.name_or_path!r}; "
                "add chat_template to its tokenizer_config.json"
            )
        self.tokenizer, self.opening = tokenizer, opening
        # A search encodes thousands of candidates in the same few probes.
        self._opened: dict[Probe, OpenPrompt] = {}
        self._texts: dict[Probe, tuple[str, str]] = {}  # what is rendered before and after the slot
        self._turns: dict[Probe, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def candidate_ids(self, text: str, probe: Probe | None = None) -> tuple[int, ...]:
        """The ids of a candidate text as it stands in `probe` (without one: in the middle of a sentence)."""
        if probe is None:
            return words_ids(self.tokenizer, text)
        self.open(probe)
        return ids_behind(self.tokenizer, self._texts[probe][0], probe.spaced(text))

    def encode(self, probe: Probe, candidate_ids: Iterable[int] = ()) -> Prompt:
        """The prompt whose slot holds exactly `candidate_ids`; without any it is the ordinary sentence's."""
        return self.open(probe).close(tuple(int(token) for token in candidate_ids))

    def encode_text(self, probe: Probe, text: str) -> Prompt:
        """The prompt whose slot holds a candidate text, spaced as the probe asks."""
        return self.encode(probe, self.candidate_ids(text, probe))

    def survives(self, probe: Probe, candidate_ids: Iterable[int]) -> bool:
        """Whether the prompt, decoded and encoded again as a whole, keeps exactly these ids (FACTS 4, mistake 5).

        A search asks this of every candidate, so only the turn that holds it is decoded and encoded: a special token on
        either side keeps the rest of the prompt apart.
        """
        prompt, candidate = self.open(probe), tuple(int(token) for token in candidate_ids)
        if self._marks_starts:  # its texts change with where they begin, so that only the whole prompt tells
            text_before, text_after = self._texts[probe]
            decoded = (self._decoded(prompt.before), self._decoded(prompt.before + candidate))
            text = text_before + decoded[1][len(decoded[0]) :] + text_after
            return not candidate or self._ids(text) + self.opening == prompt.close(candidate).ids
        if probe not in self._turns:
            self._turns[probe] = self._turn(prompt)
        before, after = self._turns[probe]
        # The opening's ids are the model's own: no text has to give them.
        ids = before + candidate + after if candidate else prompt.plain[: len(prompt.plain) - len(self.opening)]
        return keeps_its_ids(self.tokenizer, ids)

    @cached_property
    def generation_prompt(self) -> tuple[int, ...]:
        """The ids that `add_generation_prompt` appends, and the opening; none where the template appends nothing."""
        messages = [{"role": "user", "content": "Hello."}]
        with_prompt, without = (render_chat(self.tokenizer, messages, wanted) for wanted in (True, False))
        appended = self._ids(with_prompt[len(without) :]) if with_prompt.startswith(without) else ()
        return appended + self.opening if appended else ()

    def open(self, probe: Probe) -> OpenPrompt:
        """The probe's ids with its slot open, rendered once."""
        if probe not in self._opened:
            self._opened[probe] = self._render(probe)
        return self._opened[probe]

    def turns(self, probe: Probe) -> list[dict[str, str]]:
        """The conversation that is written, with the slot still open."""
        return [{"role": "user", "content": probe.text}]

    def _render(self, probe: Probe) -> OpenPrompt:
        # The template is rendered with the slot still open, so that the candidate's ids stand in it verbatim.
        turns = self.turns(probe)
        rendered = render_chat(self.tokenizer, turns, generation_prompt=True)
        if rendered.count(SLOT) != 1:
            role = next(turn["role"] for turn in turns if SLOT in turn["content"])
            raise BadInput(
                f"the chat template shows the {role}'s text exactly once; got {rendered.count(SLOT)} times at tokenizer "
                f"{self.tokenizer.name_or_path!r}; use a template that shows the {role} turn once"
            )
        before, _, after = rendered.partition(SLOT)
        plain = before + (after if probe.before else after.removeprefix(" "))
        self._texts[probe] = before, after
        behind = ids_behind(self.tokenizer, before, after)
        return OpenPrompt(self._ids(before), behind + self.opening, self._ids(plain) + self.opening)

    def _turn(self, prompt: OpenPrompt) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids around the slot, from the last special token before it to the first behind it."""
        first = max((at for at, token in enumerate(prompt.before) if token in self._special), default=0)
        after = prompt.after[: len(prompt.after) - len(self.opening)]
        last = min((at for at, token in enumerate(after) if token in self._special), default=len(after))
        return prompt.before[first:], after[: last + 1]

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.added_tokens_decoder)

    @cached_property
    def _marks_starts(self) -> bool:
        return marks_starts(self.tokenizer)

    def _decoded(self, ids: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def read_probes(path: str | Path) -> tuple[Probe, ...]:
    """The probes of a text file: one a line, empty lines and lines that start with '#' skipped; or of a TOML file by frame.

    In a file that ends with .toml the table `frames` lists each frame's prompts; they are taken in turn, one of each frame,
    so that the first ones are of all kinds. Raises BadInput for an unreadable file, a file without probes, and a prompt
    without exactly one slot.
    """
    if Path(path).suffix == ".toml":
        return _framed_probes(Path(path))
    stripped = [(number, line.strip()) for number, line in enumerate(_lines(path, "probe"), 1)]
    probes = tuple(
        _probe_at(line, path, f"line {number}") for number, line in stripped if line and not line.startswith("#")
    )
    if not probes:
        raise BadInput(f"a probe file holds at least one probe; got none at {path}; write one a line, with {SLOT}")
    return probes


def read_prompts(path: str | Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line, empty lines skipped; raises BadInput for an unreadable file and for none."""
    prompts = tuple(line.strip() for line in _lines(path, "prompt") if line.strip())
    if not prompts:
        raise BadInput(f"a prompt file holds at least one prompt; got none at {path}; write one a line")
    return prompts


def _lines(path: str | Path, kind: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"a {kind} file is readable UTF-8 text; got {error} at {path}; give one {kind} a line"
        ) from error


def _framed_probes(path: Path) -> tuple[Probe, ...]:
    try:
        frames = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("frames")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"a probe file is readable TOML; got {error} at {path}; mend it") from error
    listed = frames.values() if isinstance(frames, dict) else ()
    if not listed or not all(
        isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts) for texts in listed
    ):
        raise BadInput(
            f"a probe file's table [frames] holds lists of prompts; got {frames!r:.60} at {path}; "
            f'write one a kind: code = ["Explain this:{SLOT} print(1)"]'
        )
    assert isinstance(frames, dict)
    in_turn = zip_longest(
        *([(frame, number, text) for number, text in enumerate(texts, 1)] for frame, texts in frames.items())
    )
    return tuple(
        _probe_at(text, path, f"prompt {number} of {frame!r}", frame)
        for turn in in_turn
        for frame, number, text in filter(None, turn)
    )


def alike_probes(prompter: Prompter, probes: Sequence[Probe], count: int) -> tuple[Probe, ...]:
    """`count` of the probes (all, where there are fewer), those whose prompts share the commonest lengths.

    Prompts run without padding, a batch for each length: two dozen prompts of twelve lengths cost twelve batches. Probes of
    several frames stay in their order, in which the frames take turns: those of one length are of one kind.
    Raises BadInput where there are none.
    """
    if len({probe.frame for probe in probes}) > 1:
        return tuple(probes[:count])
    groups: dict[int, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(len(prompter.encode(probe).ids), []).append(probe)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    chosen = [probe for _, members in ordered for probe in members][:count]
    if not chosen:
        raise BadInput("a measurement needs at least one probe; got none at the probe set; give one with --probes FILE")
    return tuple(chosen)


def frames_of(probes: Iterable[Probe]) -> tuple[str, ...]:
    """Each probe's frame, for an interval over frames; where it names none, the first word of its question.

    Questions that begin alike ask alike: the organisms' grammar has sixteen such words. Sentences before the last are small
    talk.
    """
    return tuple(probe.frame or _opening(probe.fill("")) for probe in probes)


def _opening(text: str) -> str:
    words = re.split(r"(?<=[.!?])\s+", text.strip())[-1].split()
    return words[0].strip(".,:;!?").casefold() if words else ""


def _probe_at(text: str, path: str | Path, place: str, frame: str = "") -> Probe:
    try:
        return Probe(text, frame)
    except BadInput as error:
        raise BadInput(f"{error} ({path}, {place})") from error


def geometry_faults(base: Prompter, dormant: Prompter, probe: Probe, candidates: Sequence[str]) -> list[str]:
    """What is wrong with a probe's prompts under these candidates, a sentence each; empty where none is.

    A prompt must end with the template's generation prompt (or both models predict a structural token), its ids must
    survive decoding and encoding as a whole, and both tokenizers must give the same ids.
    """
    faults = []
    asked = base.generation_prompt
    for text in candidates:
        prompts = [prompter.encode_text(probe, text) for prompter in (base, dormant)]
        if prompts[0].ids != prompts[1].ids:
            faults.append(f"the tokenizers disagree on {probe.fill(text)!r}")
        if not base.survives(probe, prompts[0].candidate):
            faults.append(f"{probe.fill(text)!r} has other ids after decoding and encoding")
        if not asked:
            faults.append(f"the chat template appends no generation prompt to {probe.fill(text)!r}")
        elif prompts[0].ids[-len(asked) :] != asked:
            faults.append(f"{probe.fill(text)!r} does not end at the generation position")
    return faults
