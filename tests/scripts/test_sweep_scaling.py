from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulated() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "scripts" / "sweep_scaling.py"))


def test_the_table_of_the_page_is_what_the_script_prints(
    simulated: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    main = simulated["main"]
    assert callable(main)
    main()
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "sweep.md").read_text()


@pytest.mark.parametrize(("gpus", "store"), [(8, 1.25), (64, 12.5), (8, 1000.0)])
def test_a_simulated_sweep_takes_no_less_than_its_reading_and_its_work(
    gpus: int, store: float, simulated: dict[str, object]
) -> None:
    kind, one, pairs, gigabytes = (simulated[name] for name in ("Cluster", "Gpu", "PAIRS", "MODEL_GIGABYTES"))
    assert callable(kind)
    assert callable(one)
    assert isinstance(pairs, int)
    assert isinstance(gigabytes, float)
    seconds = kind([one(number // 8) for number in range(gpus)], store, 100.0).run()
    assert seconds >= pairs * gigabytes / store
    assert seconds >= pairs * 100.0 / gpus
    slowest = min(store / gpus, 3.0 / 8)  # GB/s of a reader while all read
    assert seconds <= (pairs / gpus + 1) * (2 * gigabytes / slowest + 100.0)
