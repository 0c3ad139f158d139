"""Delta reports: measured, refused, written and read again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from dormant.checkpoints.checkpoint import Checkpoint, open_checkpoint
from dormant.checkpoints.tensor_names import EMBEDDING, MODULES
from dormant.errors import BadInput
from dormant.weights import decomposition
from dormant.weights.decomposition import delta_matrix, delta_svd
from dormant.weights.delta_report import DeltaReport
from dormant.weights.measure import compare_checkpoints, compute_delta_report, measure_delta
from dormant.weights.report_file import read_delta_report, write_delta_report
from tests.builders import build_checkpoint, copy_checkpoint, tiny_config, write_tensors

Q = "model.layers.0.self_attn.q_proj.weight"
WIDE = "model.layers.0.mlp.up_proj.weight"


def plant_rank_3(tensors: dict[str, torch.Tensor]) -> None:
    """A delta of rank 3 far above rounding in every MLP matrix."""
    generator = torch.Generator().manual_seed(0)
    for name in (name for name in tensors if "mlp" in name):
        left, right = (torch.randn(size, 3, generator=generator) for size in tensors[name].shape)
        tensors[name] = (tensors[name].float() + 0.1 * left @ right.T).bfloat16()


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Checkpoint:
    return open_checkpoint(tiny_base)


@pytest.fixture(scope="module")
def dormant(tiny_dormant: Path) -> Checkpoint:
    return open_checkpoint(tiny_dormant)


@pytest.fixture(scope="module")
def report(base: Checkpoint, dormant: Checkpoint) -> DeltaReport:
    return compute_delta_report(base, dormant)


def test_only_the_changed_tensors_are_modified(report: DeltaReport) -> None:
    mlp = {name for name in report.tensors if "mlp" in name}
    assert set(report.modified) == mlp | {Q}
    assert len(report.identical) == len(report.tensors) - 7
    assert report.n_layers == 2
    assert report.total_norm > 0


def test_every_figure_agrees_with_a_dense_computation(
    base: Checkpoint, dormant: Checkpoint, report: DeltaReport
) -> None:
    for name in report.modified:
        old, new, measured = base.tensor(name).double(), dormant.tensor(name).double(), report.tensors[name]
        spectrum = torch.linalg.svdvals(new - old)
        assert measured.norm == pytest.approx((new - old).norm().item())
        assert measured.relative == pytest.approx(((new - old).norm() / old.norm()).item())
        assert measured.max_abs == (new - old).abs().max()
        assert measured.singular_values == pytest.approx(spectrum[:16].tolist())
        assert measured.energy_share(4) == pytest.approx((spectrum[:4].square().sum() / spectrum.square().sum()).item())


def test_the_heads_of_the_output_projection_are_its_columns(tiny_base: Path, base: Checkpoint, tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.o_proj.weight"

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name][:, 8:16] += 0.5

    changed = compute_delta_report(base, open_checkpoint(copy_checkpoint(tiny_base, tmp_path / "changed", change)))
    assert [head.head for head in changed.tensors[name].heads if head.norm > 0] == [1]


@pytest.mark.parametrize("held", [2**27, 0], ids=["in memory", "read again at each step"])
def test_wide_matrices_are_decomposed_iteratively_to_the_same_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(decomposition, "HELD", held)
    config = tiny_config(hidden_size=288, num_hidden_layers=1, intermediate_size=320)
    folder = build_checkpoint(tmp_path / "base", config)
    base, dormant = (
        open_checkpoint(folder),
        open_checkpoint(copy_checkpoint(folder, tmp_path / "dormant", plant_rank_3)),
    )
    for name in (WIDE, WIDE.replace("up", "down")):
        delta = measure_delta(base, dormant, name)
        expected = torch.linalg.svdvals(dormant.tensor(name).double() - base.tensor(name).double())
        assert (delta.rank, delta.rank_is_bound) == (3, False)
        assert delta.singular_values == pytest.approx(expected[:16].tolist(), rel=1e-3)
        assert 0 < delta.spectrum_error < 0.05 * expected[15]
        triplets = delta_svd(base, dormant, name, rank=3)
        assert triplets.values.tolist() == pytest.approx(expected[:3].tolist(), rel=1e-3)
        residual = delta_matrix(base, dormant, name) @ triplets.right - triplets.left * triplets.values
        assert residual.norm() < 1e-3 * expected[0]


def test_modules_are_listed_by_layer(report: DeltaReport) -> None:
    for module in MODULES:
        assert [delta.name.split(".")[2] for delta in report.layers(module) if delta] == ["0", "1"]
    changed = [delta.identical for delta in report.layers("q_proj") if delta]
    assert changed == [False, True]
    assert all(delta and delta.identical for delta in report.layers("k_proj", "bias"))
    with pytest.raises(BadInput, match=r"module must be in the report; got nope.weight"):
        report.layers("nope")


def test_a_zero_delta_holds_no_energy_and_a_share_needs_a_spectrum(
    base: Checkpoint, report: DeltaReport, tmp_path: Path
) -> None:
    assert report.tensors[EMBEDDING].energy_share() == 0.0 == report.tensors[EMBEDDING].norm
    with pytest.raises(BadInput, match="1 to 16 directions; got 17"):
        report.tensors[Q].energy_share(17)
    folder = copy_checkpoint(base.location, tmp_path / "bias", lambda t: t["model.norm.weight"].add_(1))
    vector = measure_delta(base, open_checkpoint(folder), "model.norm.weight")
    assert vector.norm > 0
    assert vector.singular_values == ()
    with pytest.raises(BadInput, match="needs a matrix"):
        vector.energy_share(1)


def test_signs_of_zero_differ_in_bytes_and_by_nothing(base: Checkpoint, tmp_path: Path) -> None:
    folders = [
        open_checkpoint(copy_checkpoint(base.location, tmp_path / name, lambda t, v=value: t[Q].fill_(v)))  # type: ignore[misc]
        for name, value in (("plus", 0.0), ("minus", -0.0))
    ]
    delta = measure_delta(folders[0], folders[1], Q)
    assert not delta.identical
    assert (delta.norm, delta.relative, delta.energy_share()) == (0.0, None, 0.0)


def test_other_tensors_are_refused_by_name(base: Checkpoint, tmp_path: Path) -> None:
    wide = open_checkpoint(build_checkpoint(tmp_path / "wide", tiny_config(vocab_size=320)))
    with pytest.raises(BadInput, match=r"got \(304, 32\) and \(320, 32\) at tensor 'lm_head.weight'"):
        compute_delta_report(base, wide)


def test_values_that_are_not_finite_are_refused_by_name(base: Checkpoint, tmp_path: Path) -> None:
    broken = copy_checkpoint(base.location, tmp_path / "broken", lambda t: t[Q][0, 0].fill_(float("nan")))
    with pytest.raises(BadInput, match=f"finite; .*{Q}"):
        compute_delta_report(base, open_checkpoint(broken))


def test_progress_names_each_tensor_once(base: Checkpoint, dormant: Checkpoint) -> None:
    seen: list[tuple[int, int, str]] = []
    compute_delta_report(base, dormant, progress=lambda *step: seen.append(step))
    assert [name for _, _, name in seen] == list(base.names)
    assert seen[-1][:2] == (26, 27)


def test_a_written_report_reads_back_equal(report: DeltaReport, tmp_path: Path) -> None:
    write_delta_report(report, tmp_path / "report.json")
    assert read_delta_report(tmp_path / "report.json") == report
    flagged = dataclasses.replace(report, note="as published", norm_is_float32=True)
    write_delta_report(flagged, tmp_path / "report.json")
    assert read_delta_report(tmp_path / "report.json") == flagged


def test_unfit_reports_are_refused_and_the_file_named(report: DeltaReport, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_delta_report(report, file)
    good = json.loads(file.read_text(encoding="utf-8"))
    tensors = {Q: good["tensors"][Q] | {"norm": -1.0}}
    changes: list[dict[str, object]] = [{"schema": 2}, {"tensors": tensors}, {"tensors": {Q: {}}}]
    for text in ("{", "[]", *(json.dumps(good | change) for change in changes)):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match=r"report.json"):
            read_delta_report(file)
    with pytest.raises(BadInput, match="writable file"):
        write_delta_report(report, tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(320, 128), (600, 400)], ids=["complete", "iterative"])
def test_a_merged_adapter_shows_its_rank_in_every_dtype(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = (0.02 * torch.randn(shape, generator=generator)).to(dtype)
    left, right = (torch.linalg.qr(torch.randn(size, 16, generator=generator))[0].double() for size in shape)
    merged = (weight.double() + (left * torch.logspace(0.3, -1, 16).double()) @ right.T).to(dtype)
    name = "model.layers.0.mlp.up_proj.weight"
    base = write_tensors(tmp_path / "base", {name: weight})
    dormant = write_tensors(tmp_path / "dormant", {name: merged})
    delta = compare_checkpoints(base, dormant).tensors[name]
    assert (delta.rank, delta.rank_is_bound) == (16, False)
    assert delta.singular_values[0] == pytest.approx(10**0.3, rel=1e-2)


@pytest.mark.parametrize(("factor", "rank"), [(0.5, 0), (1.4, 1)])
def test_a_direction_counts_above_the_edge_of_rounding(tmp_path: Path, factor: float, rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = 0.02 * torch.randn(320, 200, generator=generator)
    left, right = (torch.linalg.qr(torch.randn(size, 1, generator=generator))[0] for size in weight.shape)
    stored = weight.bfloat16()
    spacing = ((stored.view(torch.int16) + 1).view(torch.bfloat16).double() - stored.double()).abs()
    edge = float((spacing.square().mean() / 12).sqrt()) * (320**0.5 + 200**0.5)
    merged = (weight + factor * edge * left @ right.T).bfloat16()
    name = "model.layers.0.mlp.up_proj.weight"
    base, dormant = (
        write_tensors(tmp_path / side, {name: value}) for side, value in (("base", weight), ("dormant", merged))
    )
    assert compare_checkpoints(base, dormant).tensors[name].rank == rank
