"""Two checkpoints compared tensor by tensor: what makes a delta report out of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.functional import pad

from dormant.checkpoints.adapted_tensor import low_rank_update
from dormant.checkpoints.adapters import stated_base
from dormant.checkpoints.checkpoint import Checkpoint
from dormant.checkpoints.tensor_names import module_of
from dormant.errors import BadInput
from dormant.progress import Progress
from dormant.weights.block_krylov import COUNTED, count_above
from dormant.weights.byte_comparison import compare_values
from dormant.weights.decomposition import NARROW, delta_blocks, delta_matrix, leading_of_delta
from dormant.weights.delta_report import DIRECTIONS, DeltaReport, TensorDelta
from dormant.weights.heads import head_deltas, head_layout
from dormant.weights.rounding_noise import RoundingNoise
from dormant.weights.spectra import accumulate, long_axis, singular_values
from dormant.weights.tensor_matching import check_same_tensors, match_checkpoints, survey_checkpoint
from dormant.weights.token_readout import pointed_tokens


def compute_delta_report(
    base: Checkpoint, dormant: Checkpoint, device: torch.device | str = "cpu", progress: Progress | None = None
) -> DeltaReport:
    """The delta of every tensor, streamed: never more than one changed matrix in memory, and none above 512 MB.

    `device` does the spectra's arithmetic and must know float64. Raises BadInput naming a tensor that only one of the two
    has, that differs in shape, or whose values are not finite.
    """
    check_same_tensors(base, dormant)
    return _report(base, dormant, _measure_all(base, dormant, device, progress, None), "", ())


def compare_norms(base: Checkpoint, dormant: Checkpoint, progress: Progress) -> DeltaReport:
    """The same without spectra, ranks and heads, at the speed at which files are read."""
    check_same_tensors(base, dormant)
    tensors = {}
    for done, name in enumerate(base.names):
        progress(done, len(base.names), name)
        tensors[name] = _norms(base, dormant, name)
    return _report(base, dormant, tensors, "", ())


def compare_checkpoints(
    base: str | Path | None, dormant: str | Path, device: torch.device | str = "cpu", progress: Progress | None = None
) -> DeltaReport:
    """The same report on whatever two folders or hub ids hold, with the tokens that the changes point at.

    Without a base that is the one which the dormant adapter names.

    `faults` has a sentence for each tensor or file that is missing, extra, renamed, cut off, of another shape or not finite,
    the note one where no token can be seen. Raises BadInput where nothing at all can be compared.
    """
    ours, our_faults = survey_checkpoint(base or stated_base(dormant))
    theirs, their_faults = survey_checkpoint(dormant, base)
    matched = match_checkpoints(ours, theirs)
    faults = [*our_faults, *their_faults, *matched.faults]
    tensors = _measure_all(matched.base, matched.dormant, device, progress, faults)
    if not tensors:
        raise BadInput(faults[0])
    notes = list(matched.notes)
    try:
        tokens = pointed_tokens(matched.base, matched.dormant, tensors, progress)
    except BadInput as error:
        tokens = ()
        notes.append(f"no tokens are listed: {error}")
    report = _report(matched.base, matched.dormant, tensors, "\n".join(filter(None, notes)), tuple(faults))
    return replace(report, tokens=tokens)


def _measure_all(
    base: Checkpoint,
    dormant: Checkpoint,
    device: torch.device | str,
    progress: Progress | None,
    faults: list[str] | None,
) -> dict[str, TensorDelta]:
    """Every tensor's delta; one that cannot be measured goes to `faults`, or is raised without such a list."""
    tensors: dict[str, TensorDelta] = {}
    for done, name in enumerate(base.names):
        if progress is not None:
            progress(done, len(base.names), name)
        try:
            tensors[name] = measure_delta(base, dormant, name, device)
        except BadInput as error:
            if faults is None:
                raise
            faults.append(str(error))
    return tensors


def _report(
    base: Checkpoint, dormant: Checkpoint, tensors: dict[str, TensorDelta], note: str, faults: tuple[str, ...]
) -> DeltaReport:
    return DeltaReport(
        base.reference, dormant.reference, "measured from the weights", tensors, note,
        layout=head_layout(base.config), faults=faults,
    )  # fmt: skip


def measure_delta(base: Checkpoint, dormant: Checkpoint, name: str, device: torch.device | str = "cpu") -> TensorDelta:
    """One tensor's delta: a pass over both files for identity and norms, a second one for the spectrum of what changed."""
    delta = _norms(base, dormant, name)
    return delta if delta.identical else add_spectrum(delta, base, dormant, device)


def _norms(base: Checkpoint, dormant: Checkpoint, name: str) -> TensorDelta:
    compared = compare_values(base.catalogue[name], dormant.catalogue[name])
    shape = base.shape(name)
    if not compared.finite:
        raise BadInput(
            f"weights must be finite; got NaN or infinity at tensor {name!r} of {base.location} or {dormant.location}; "
            "use checkpoints that were saved whole"
        )
    return TensorDelta(
        name, shape, compared.identical, compared.norm, compared.relative, compared.max_abs, compared.delta_square_sum,
    )  # fmt: skip


def add_spectrum(
    delta: TensorDelta, base: Checkpoint, dormant: Checkpoint, device: torch.device | str = "cpu"
) -> TensorDelta:
    """The delta with singular values, noise edge, rank and heads, where it has any.

    Complete and in float64 up to a smaller side of NARROW, iterative in float32 above (see `krylov`). An adapter's update has
    no rounding: its edge is 0 and its spectrum that of its factors.
    """
    name, layout = delta.name, head_layout(base.config)
    if layout is not None and layout.heads(module_of(name)):
        matrix = delta_matrix(base, dormant, name, torch.float64, device)
        delta = replace(delta, heads=head_deltas(matrix, name, layout))
        del matrix
    if len(delta.shape) != 2:
        return delta
    noise = RoundingNoise.of_shape(delta.shape, device)
    if low_rank_update(base.catalogue[name], dormant.catalogue[name]) is not None:
        found = leading_of_delta(base, dormant, name, DIRECTIONS, device=device).found
        lacking = min(DIRECTIONS, *delta.shape) - len(found)
        kept, error, bound = pad(found, (0, max(0, lacking)))[:DIRECTIONS], 0.0, False
    elif min(delta.shape) <= NARROW:
        axis = long_axis(delta.shape)
        moments = accumulate(delta_blocks(base, dormant, name, noise, device, torch.float64, axis), axis)
        assert moments.gram is not None
        found = singular_values(moments.gram)
        kept, error, bound = found[:DIRECTIONS], 0.0, False
    else:
        leading = leading_of_delta(base, dormant, name, DIRECTIONS, noise, device)
        found, kept, error = leading.found, leading.values, leading.errors.max().item()
        bound = count_above(found, noise.edge) >= COUNTED
    rank = count_above(found, noise.edge)
    return replace(
        delta,
        singular_values=tuple(kept.tolist()),
        spectrum_error=error,
        noise_edge=noise.edge,
        rank=COUNTED if bound else rank,
        rank_is_bound=bound,
    )
