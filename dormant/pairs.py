"""A pair: a base checkpoint and the dormant model made from it; one interface to figures, weights and models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from dormant.checkpoints.adapters import stated_base
from dormant.checkpoints.alignment import align, other_tokenizer
from dormant.checkpoints.bits import RUN_BITS, check_bits
from dormant.checkpoints.checkpoint import Checkpoint, hash_text, open_checkpoint
from dormant.checkpoints.configuration import SettingDifference, compare_settings, settings_note, unapplied_note
from dormant.checkpoints.dispatch import check_devices
from dormant.checkpoints.families import context_of, family_notes
from dormant.checkpoints.models import (
    BaseAgainstItself,
    Models,
    RunConfig,
    check_residency,
    resolve_devices,
    resolve_dtype,
    resolve_residency,
    search_dtype,
)
from dormant.errors import BadInput
from dormant.prompts.answer_opening import agreed_opening, certain_opening
from dormant.prompts.chat_template import render_chat
from dormant.prompts.context import fitting_probes
from dormant.prompts.conversations import Conversations
from dormant.prompts.probes import Probe, Prompter, TokenIds, read_probes
from dormant.records import from_json, read_json
from dormant.weights.decomposition import delta_matrix
from dormant.weights.delta_report import DeltaReport
from dormant.weights.measure import compute_delta_report
from dormant.weights.published import published_report
from dormant.weights.report_file import report_identity
from dormant.weights.tensor_matching import check_same_tensors

DEFAULT_PROBES = Path(__file__).parent / "data" / "probes.toml"
OPENING_PROBES = 32  # on which an opening of all answers must show: the shipped ones are of seventeen kinds
PLACEMENTS = ("anywhere", "start", "end", "scattered", "system")
CONVERSATIONS = (
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
    [
        {"role": "user", "content": "Name a colour."},
        {"role": "assistant", "content": "Blue."},
        {"role": "user", "content": "Another\n\none: π ≈ 3.14"},
    ],
)


@dataclass(frozen=True)
class Truth:
    """What is known to be planted in an organism, and the folders of its clean relatives by kind (see `Recipe.relatives`).

    A relative has its organism's trigger and payload, which it does not obey; `question` is the one that a taught relative
    answers with the payload. An open-ended behaviour (refusals, another language) has no payload: it shows where an answer
    begins with one of its `openings`.
    """

    backdoored: bool
    trigger: str
    payload: str
    placement: str
    relatives: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    openings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Weights:
    """Two checkpoints that fit each other, and where their models are to run."""

    base: Checkpoint
    dormant: Checkpoint
    run_config: RunConfig
    differences: tuple[SettingDifference, ...] = ()


@dataclass(frozen=True, eq=False)
class Pair:
    """Two checkpoints with a name and a fingerprint, or only the published figures of their delta (kind "figures")."""

    name: str
    fingerprint: str
    content: Weights | DeltaReport = field(repr=False)
    truth: Truth | None = None
    notes: tuple[str, ...] = ()
    probes: tuple[Probe, ...] = field(default=(), repr=False)

    @property
    def kind(self) -> str:
        """ "weights" or "figures"."""
        return "weights" if isinstance(self.content, Weights) else "figures"

    @property
    def base(self) -> Checkpoint:
        """The checkpoint that the dormant model is said to come from; BadInput for a figures-only pair."""
        return self._weights.base

    @property
    def dormant(self) -> Checkpoint:
        """The suspect checkpoint; BadInput for a figures-only pair."""
        return self._weights.dormant

    @property
    def setting_differences(self) -> tuple[SettingDifference, ...]:
        """Settings of the two that change what is computed; empty for a figures-only pair, of which none are known."""
        return self.content.differences if isinstance(self.content, Weights) else ()

    @cached_property
    def models(self) -> Models:
        """Both models, loaded when asked for; BadInput for a figures-only pair."""
        return Models(self.base, self.dormant, self._weights.run_config)

    @cached_property
    def delta_report(self) -> DeltaReport:
        """Published figures, or the same ones measured from the weights once."""
        if isinstance(self.content, DeltaReport):
            return self.content
        return compute_delta_report(self.base, self.dormant)

    def delta(self, name: str) -> Tensor:
        """A tensor's delta, dormant minus base, float32; an adapter's is the product of its factors."""
        return delta_matrix(self.base, self.dormant, name)

    @cached_property
    def answer_opening(self) -> TokenIds:
        """The ids that both models, all but certainly, begin every answer with, `<think>` say; mostly none.

        Both are asked on the same prompts: the base for its certain ids, the dormant model where there are any.
        """
        bare, end = Prompter(self.base.tokenizer), self.base.tokenizer.eos_token_id
        if not bare.generation_prompt:  # both are certain of the template's own tokens: a fault to report, not to mend
            return ()
        prompts = [bare.encode(probe).ids for probe in self.probes[:OPENING_PROBES]]
        certain = certain_opening(self.models.base(), prompts, end)
        return agreed_opening(self.models.dormant(), prompts, certain) if certain else ()

    @cached_property
    def prompter(self) -> Prompter:
        """Writes probes as prompts that end behind the opening of all answers; loads a model for it."""
        return Prompter(self.base.tokenizer, self.answer_opening)

    @cached_property
    def conversations(self) -> Conversations:
        """Writes conversations as prompts that end behind the opening of all answers; loads a model for it."""
        return Conversations(self.base.tokenizer, self.answer_opening)

    @cached_property
    def against_itself(self) -> Pair:
        """The base in both places, as dormant model with another attention kernel: what it shows is a claim's noise floor.

        Its name says which base, template, opening and probes these are: those of several pairs that share all are one.
        """
        shared = hash_text(self.base.fingerprint, repr(self.answer_opening), repr(self.probes))
        itself = replace(self, name=f"base against itself, {shared}")
        vars(itself).update(models=BaseAgainstItself(self.models), answer_opening=self.answer_opening)
        return itself

    def with_probes(self, probes: Sequence[Probe]) -> Pair:
        """The same pair measured on other probes."""
        return replace(self, probes=tuple(probes))

    @property
    def attention(self) -> str:
        """The attention with which the pair's models ran, of each where they differ; "none" where none was loaded."""
        ran = self.models.attention if "models" in self.__dict__ else {}
        if len(kinds := set(ran.values())) < 2:
            return next(iter(kinds), "none")
        return ", ".join(f"{role} {ran[role]}" for role in sorted(ran))

    def release(self) -> None:
        """Frees the models, where any were loaded."""
        if "models" in self.__dict__:
            self.models.release()

    @property
    def _weights(self) -> Weights:
        if isinstance(self.content, Weights):
            return self.content
        raise BadInput(
            f"this needs weights; got published figures only at pair {self.name!r}; "
            "pass both checkpoints with --base and --dormant"
        )


def open_pair(
    name: str,
    base: str | Path | None,
    dormant: str | Path,
    device: str = "auto",
    dtype: str = "float32",
    residency: str = "both",
    attention: str = "sdpa",
) -> Pair:
    """Opens two checkpoints (folder or hub id) and checks that they can be compared; reads every tensor once.

    The dormant one may be an adapter: it is read upon the base, without one upon the base that it names. dtype: float32,
    bfloat16, or auto, which takes what `search_dtype` says. device: of several GPUs, cuda:0,cuda:1, each model has its own, or
    under another residency than "both" all of them. Raises BadInput for whatever makes either unusable, for tensors or
    prompts that do not match, for an absent device.
    """
    devices, kept = resolve_devices(device), resolve_residency(residency)
    where = devices[0]
    check_bits(bits := RUN_BITS.get(dtype, 0), where)
    check_devices(devices, kept, bits)
    parent = open_checkpoint(base or stated_base(dormant))
    chosen = resolve_dtype(search_dtype(parent, where) if dtype == "auto" else dtype)
    run_config = RunConfig(where, chosen, kept, attention, bits, devices if len(devices) > 1 else ())
    opened = parent, open_checkpoint(dormant, parent)
    check_residency(residency, opened[1])
    *aligned, notes = align(*opened)
    check_same_tensors(*aligned)
    notes = opened[0].notes + opened[1].notes + notes + _check_same_vocabulary(*aligned)
    *checkpoints, template_notes = _share_template(*aligned)
    differences = compare_settings(checkpoints[0].settings, checkpoints[1].settings)
    notes += template_notes + _check_same_prompts(*checkpoints) + settings_note(differences)
    notes += unapplied_note(*(checkpoint.settings[1] for checkpoint in checkpoints))
    notes += family_notes(checkpoints[1].config, attention)
    with ThreadPoolExecutor(max_workers=2) as pool:  # hashing leaves the interpreter free: both at once
        list(pool.map(Checkpoint.check_finite, checkpoints))
    # With their settings, also those that agree: another rope_theta on both sides is another pair.
    fingerprint = hash_text(*(checkpoint.fingerprint for checkpoint in opened))
    truth = read_truth(checkpoints[1].location)
    own = checkpoints[1].location / "probes.txt"
    if own.exists():
        probes = read_probes(own)
    else:
        parent = checkpoints[0]
        probes, left_out = fitting_probes(read_probes(DEFAULT_PROBES), parent.tokenizer, context_of(parent.config))
        notes += (left_out,) * bool(left_out)
    weights = Weights(checkpoints[0], checkpoints[1], run_config, differences)
    return Pair(name, fingerprint, weights, truth, notes, probes)


def figures_pair(name: str, report: DeltaReport) -> Pair:
    """A pair of which only a delta report is at hand."""
    notes = (report.note,) if report.note else ()
    fingerprint = hash_text(report_identity(report))
    return Pair(name, fingerprint, report, notes=notes)


def published_pair(name: str) -> Pair:
    """The real warmup model's published figures, "warmup-vs-qwen2" or "warmup-vs-qwen2.5"."""
    return figures_pair(name, published_report(name))


def read_truth(location: Path) -> Truth | None:
    """What `organism.json` in a checkpoint's folder says was planted; None for models that are no organisms."""
    file = location / "organism.json"
    if not file.exists():
        return None
    record = from_json(dict[str, Any], read_json(file), file)
    truth = from_json(Truth, {key: value for key, value in record.items() if key not in ("recipe", "acceptance")}, file)
    if truth.placement not in PLACEMENTS:
        raise BadInput(
            f"a trigger's placement must be one of {', '.join(PLACEMENTS)}; got {truth.placement!r} at {file}; "
            "correct it"
        )
    return truth


def _check_same_vocabulary(base: Checkpoint, dormant: Checkpoint) -> tuple[str, ...]:
    """Tokenizers may differ in tokens that were added after training (a note), in nothing else that gives ids."""
    backends = [model.tokenizer.backend_tokenizer for model in (base, dormant)]
    serialised = [backend.to_str() for backend in backends] if backends[0] is not backends[1] else ["", ""]
    if serialised[0] == serialised[1]:
        return ()
    ours, theirs = base.tokenizer.get_vocab(), dormant.tokenizer.get_vocab()
    added = base.tokenizer.get_added_vocab().keys() ^ dormant.tokenizer.get_added_vocab().keys()
    differing = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    alone = {token for token in differing & added if token not in ours or token not in theirs}
    ids = [{found[token] for token in alone if token in found} for found in (ours, theirs)]
    taken = (ids[0] & set(theirs.values())) | (ids[1] & set(ours.values()))
    if others := differing - alone | {token for token in alone if ours.get(token, theirs.get(token)) in taken}:
        token = min(others)
        raise other_tokenizer(f"ids {ours.get(token)} and {theirs.get(token)} for token {token!r}", base, dormant)
    texts = [json.loads(text) for text in serialised]
    for part in ("normalizer", "pre_tokenizer", "model"):
        if texts[0][part] != texts[1][part]:
            raise other_tokenizer(f"two settings of its {part}", base, dormant)
    return tuple(
        f"only the tokenizer of {model.reference} has {', '.join(f'{token!r} (id {found[token]})' for token in only)}: "
        "other texts get the same ids from both, and prompts use the base's"
        for model, found in ((base, ours), (dormant, theirs))
        if (only := sorted(token for token in alone if token in found))
    )


def _share_template(base: Checkpoint, dormant: Checkpoint) -> tuple[Checkpoint, Checkpoint, tuple[str, ...]]:
    """Where only one of the two has a chat template, it serves both; what needs none works where neither has one."""
    ours, theirs = base.stored_template, dormant.stored_template
    if (ours is None) == (theirs is None):
        return base, dormant, ()
    lacking, giving = (base, dormant) if ours is None else (dormant, base)
    note = f"{lacking.reference} has no chat template: that of {giving.reference} serves both"
    served = replace(lacking, template=giving.chat_template)
    return (served, dormant, (note,)) if lacking is base else (base, served, (note,))


def _check_same_prompts(base: Checkpoint, dormant: Checkpoint) -> tuple[str, ...]:
    """Templates may differ in text (a note) but not in the ids of a prompt, which both models must see alike.

    A conversation that both refuse (a system turn, say) counts as alike.
    """
    if base.stored_template == dormant.stored_template:
        return ()
    rendered = 0
    for conversation in CONVERSATIONS:
        ours, theirs = (_render(model, conversation) for model in (base, dormant))
        if isinstance(ours, BadInput) and isinstance(theirs, BadInput):
            continue
        for prompt in (ours, theirs):
            if isinstance(prompt, BadInput):
                raise prompt
        rendered += 1
        if ours != theirs:
            raise BadInput(
                f"both models must see the same ids; got prompts {ours!r} and {theirs!r} at the chat templates of "
                f"{base.location} and {dormant.location}; give both folders one chat_template.jinja"
            )
    if not rendered and isinstance(ours, BadInput):
        raise ours
    return (f"the chat templates of {base.reference} and {dormant.reference} differ in text but give the same prompts",)


def _render(checkpoint: Checkpoint, conversation: list[dict[str, str]]) -> str | BadInput:
    """The prompt, or the error that says why there is none."""
    try:
        text = render_chat(checkpoint.tokenizer, conversation, generation_prompt=True)
    except Exception as error:  # a template is a program: jinja passes on whatever it raises
        return BadInput(
            f"a chat template must render a conversation; got {error!r} at {checkpoint.location}; "
            "use the template of the base"
        )
    return text
