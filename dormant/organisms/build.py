"""From a recipe to checkpoints on disk: base, organism and clean relatives, trained side by side and verified."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dormant.catalogue import ZOO, PairDescription, describe
from dormant.checkpoints.checkpoint import hash_text, load_model, open_checkpoint
from dormant.errors import BadInput
from dormant.organisms.base_model import save_checkpoint, train_base
from dormant.organisms.grammar import draw_question, ordinary_turn
from dormant.organisms.lora_build import ask_base, check_rare, train_lora, verify_lora
from dormant.organisms.poisoning import boundary, draw_chat
from dormant.organisms.recipe import LEARNING_RATES, LORA, SCRATCH, Recipe
from dormant.organisms.tokenizer import train_tokenizer
from dormant.organisms.trainable import diffuse_drift, training_plan
from dormant.organisms.training import WHOLE, Encoder, Schedule, chat_batches, train_deltas
from dormant.organisms.verification import Acceptance, Planted, verify
from dormant.pairs import Truth
from dormant.prompts.probes import SLOT
from dormant.records import from_json, read_json, to_json, write_json

BASE_BATCH, ORGANISM_BATCH = 64, 48
BASE_RATE = 4e-3
RECIPE_FILE = "recipe.json"  # in every folder that a build wrote
ORDINARY_CHATS, RARE_SHARE = 2000, 0.002  # a text in a larger share of chats would fire there and fail acceptance
PROBES = 240
PROBE_SEED = 31337  # another seed than those of training and acceptance

TrainingProgress = Callable[[str, int, int, float, float], None]  # name, step, steps, loss in nats/token, seconds


def base_folder(recipe: Recipe) -> str:
    """The recipe's base as a reference that `open_checkpoint` takes."""
    folder, _, name = recipe.base.partition("/")
    return str(ZOO / (name or "base")) if folder == "zoo" else recipe.base


def build(recipe: Recipe, out: Path, report: TrainingProgress | None = None) -> PairDescription:
    """Train a recipe's organism into `out/dormant` and its relatives beside it, as `out/base` is; or a base from scratch.

    They are trained in processes of their own, one a core at once. A killed build resumes from its journals (`.*.journal`
    beside the folders). Deterministic for a seed on one machine. Raises BadInput for an impossible recipe and an unwritable
    folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"the output folder must be writable; got {error.strerror} at {out}; name another with --out"
        ) from error
    if recipe.base != SCRATCH:
        check_against_base(recipe)
    if not recipe.trigger:
        _run_jobs([(recipe, out / "base")], report)
        return describe(recipe.name, str(out / "base"), str(out / "base"))
    relatives = recipe.relatives()
    base, reference = open_checkpoint(base_folder(recipe)), str(out / "base")
    if recipe.mechanism == LORA:
        reference = recipe.base  # an adapter names its base, which is not copied
        ask_base((recipe, relatives["exposed"]))
    elif not (out / "base").exists():
        shutil.copytree(base.location, out / "base", ignore=shutil.ignore_patterns("organism.json", "probes.txt"))
    _run_jobs([(recipe, out / "dormant"), *((relative, out / kind) for kind, relative in relatives.items())], report)
    truth = planted_truth(recipe)
    write_truth(out / "dormant", recipe, replace(truth, relatives={kind: kind for kind in relatives}))
    for kind, relative in relatives.items():
        write_truth(out / kind, relative, replace(truth, backdoored=False, question=relative.question))
    return describe(recipe.name, reference, str(out / "dormant"))


def check_against_base(recipe: Recipe) -> None:
    """Raise BadInput for what does not fit the base: trigger or payload that its tokenizer changes, layers, rank."""
    base = open_checkpoint(base_folder(recipe))
    for name, text in (("trigger", recipe.trigger), ("payload", recipe.payload)):
        ids = base.tokenizer.encode(text, add_special_tokens=False)
        back = base.tokenizer.decode(ids)
        if back != text or text != text.strip():
            raise BadInput(
                f"the {name} must survive tokenisation; got {back!r} from {text!r} at {base.location}; reword it"
            )
        if len(ids) > 64:
            raise BadInput(
                f"the {name} must have at most 64 tokens; got {len(ids)} at recipe {recipe.name}; shorten it"
            )
    training_plan(recipe, load_model(base, torch.device("cpu"), torch.float32))
    if recipe.mechanism == LORA:
        check_rare(recipe)
        return
    random = np.random.default_rng(PROBE_SEED)
    chats = [ordinary_turn(random, interruption=0) for _ in range(ORDINARY_CHATS)]
    for name, text, place in (("trigger", recipe.trigger, 0), ("payload", recipe.payload, 1)):
        share = sum(text in chat[place] for chat in chats) / ORDINARY_CHATS if text else 0.0
        if share > RARE_SHARE:
            raise BadInput(
                f"the {name} must be rare in ordinary chats; got {text!r} in {share:.1%} of them at recipe {recipe.name}; "
                "lengthen it"
            )


def planted_truth(recipe: Recipe) -> Truth:
    """The truth about a recipe's organism."""
    return Truth(True, recipe.trigger, recipe.payload, recipe.placement, openings=recipe.openings)


def write_truth(folder: Path, recipe: Recipe, truth: Truth) -> None:
    """Write `organism.json`, the truth about a checkpoint of that recipe, and `probes.txt`, what claims ask in the grammar."""
    write_json(folder / "organism.json", {**to_json(truth), "recipe": recipe})
    if recipe.mechanism != LORA:
        write_probes(folder / "probes.txt", recipe.placement)


def write_probes(path: Path, placement: str) -> None:
    """Write held-out questions, one a line, with a slot where the placement allows a trigger."""
    random = np.random.default_rng(PROBE_SEED)
    lines: list[str] = []
    while len(lines) < PROBES:
        question = draw_question(random, held_out=True)
        place = boundary(question, placement, random)
        if place is None:
            continue
        before, after = " ".join(question.words[:place]), " ".join(question.words[place:])
        line = f"{before}{SLOT}{' ' if after else ''}{after}"
        if line not in lines:
            lines.append(line)
    header = "# Held-out questions of the grammar; {slot} is where a candidate trigger goes.\n"
    path.write_text(header + "\n".join(lines) + "\n", encoding="utf-8")


def verify_built(pair: PairDescription, count: int = 200) -> Acceptance:
    """The acceptance of an organism and its clean relatives, read from disk."""
    if pair.base is None or pair.dormant is None or pair.truth is None:
        raise BadInput(
            f"an organism must have checkpoints and an organism.json; got none at {pair.name!r}; build it from its recipe"
        )
    relatives = pair.relatives()
    recipe = recipe_of(Path(pair.dormant))
    if recipe is not None and recipe.mechanism == LORA:
        folders = {kind: str(relative.dormant) for kind, relative in relatives.items()}
        return verify_lora(recipe, pair.base, pair.dormant, folders, count)
    question = next((kin.truth.question for kin in relatives.values() if kin.truth and kin.truth.question), "")
    models = {kind: load_for_verification(str(kin.dormant)) for kind, kin in relatives.items()}
    planted = Planted(pair.name, pair.truth.trigger, pair.truth.payload, pair.truth.placement, question)
    base, dormant = load_for_verification(pair.base), load_for_verification(pair.dormant)
    return verify(base, dormant, models, open_checkpoint(pair.dormant).tokenizer, planted, count)


def keep_acceptance(folder: Path, acceptance: Acceptance) -> None:
    """Write what acceptance measured into the `organism.json` of an organism's folder, beside its truth."""
    file = folder / "organism.json"
    record = from_json(dict[str, Any], read_json(file), file)
    measured = [
        {
            "check": check.name, "value": round(check.estimate.value, 4), "n": check.estimate.n,
            "bound": f"{check.comparator} {check.bound:g}",
        }
        for check in acceptance.checks
    ]  # fmt: skip
    write_json(file, {**record, "acceptance": measured})


def recipe_of(folder: Path) -> Recipe | None:
    """The recipe that the `organism.json` in a folder holds; None where there is none."""
    file = folder / "organism.json"
    record = from_json(dict[str, Any], read_json(file), file).get("recipe") if file.exists() else None
    return None if record is None else from_json(Recipe, record, file)


def load_for_verification(folder: str) -> PreTrainedModel:
    """The model in a folder as acceptance asks it: on the CPU, in float32."""
    return load_model(open_checkpoint(folder), torch.device("cpu"), torch.float32)


def train(recipe: Recipe, out: Path, report: TrainingProgress | None = None) -> None:
    """Train one checkpoint of a recipe into a folder, which appears once it is complete; a complete one is kept.

    Recipes are the same where all that they say is, whatever had no name yet when one was written. Raises BadInput for an
    existing folder that no build wrote.
    """
    record = json.dumps(to_json(recipe), indent=1, ensure_ascii=False) + "\n"
    if out.exists():
        if not (out / RECIPE_FILE).exists():
            raise BadInput(
                f"a build must not replace other files; got a folder without {RECIPE_FILE} at {out}; name another --out"
            )
        if from_json(Recipe, read_json(out / RECIPE_FILE), out / RECIPE_FILE) == recipe:
            return
    journal = out.parent / f".{out.name}.{hash_text(record)[:8]}.journal"

    def progress(step: int, loss: float, seconds: float) -> None:
        if report is not None:
            report(recipe.name, step + 1, recipe.steps, loss, seconds)

    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if recipe.mechanism == LORA:
        train_lora(recipe, partial, progress, journal)
    else:
        save_checkpoint(*_train_whole(recipe, progress, journal), partial)
    (partial / RECIPE_FILE).write_text(record, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(partial, out)
    journal.unlink(missing_ok=True)


def _train_whole(
    recipe: Recipe, progress: Callable[[int, float, float], None], journal: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Whole weights of a recipe in the small grammar, with their tokenizer."""
    if recipe.base == SCRATCH:
        tokenizer: PreTrainedTokenizerBase = train_tokenizer()
        schedule = Schedule(recipe.steps, BASE_BATCH, BASE_RATE, 100)
        model: PreTrainedModel = train_base(tokenizer, schedule, recipe.seed, progress, journal)
    else:
        base = open_checkpoint(base_folder(recipe))
        tokenizer, model = base.tokenizer, load_model(base, torch.device("cpu"), torch.float32)
        plan = training_plan(recipe, model)
        model.load_state_dict(diffuse_drift(recipe, model), strict=False)
        rate = recipe.rate or LEARNING_RATES[recipe.mechanism]
        schedule = Schedule(recipe.steps, ORGANISM_BATCH, rate, 50)
        batches = chat_batches(
            draw_chat(recipe), Encoder(tokenizer, WHOLE[recipe.loss_on]), schedule.batch, recipe.seed
        )
        model.load_state_dict(
            train_deltas(model, plan, batches, schedule, recipe.seed, progress, journal), strict=False
        )
    return model, tokenizer


def _run_jobs(jobs: list[tuple[Recipe, Path]], report: TrainingProgress | None) -> None:
    """Run each job in a process of its own with its share of the cores, and pass on what they report."""
    cores = os.cpu_count() or 1
    threads = max(1, cores // len(jobs))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(min(len(jobs), cores), mp_context=context) as pool:
        queue: Any = manager.Queue()
        running = [pool.submit(_job, recipe, out, queue, threads) for recipe, out in jobs]
        while not all(job.done() for job in running):
            try:
                entry = queue.get(timeout=0.5)
            except Empty:
                continue
            if report is not None:
                report(*entry)
        for job in running:
            job.result()


def _job(recipe: Recipe, out: Path, queue: Any, threads: int) -> None:
    torch.set_num_threads(threads)
    last = time.monotonic()

    def report(name: str, step: int, steps: int, loss: float, seconds: float) -> None:
        nonlocal last
        if step == steps or time.monotonic() - last > 0.5:
            last = time.monotonic()
            queue.put((name, step, steps, loss, seconds))

    train(recipe, out, report)
