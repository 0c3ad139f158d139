from __future__ import annotations

from dormant.pictures.throughput import throughput_trend


def test_the_title_counts_what_fell_and_each_benchmark_has_a_chart() -> None:
    figure = throughput_trend(
        {"test_scan": [5.0, 9.0, 4.0], "test_gcg": [None, 8.0, 7.9], "test_new": [None, None, 1.0]}
    )
    assert figure.get_suptitle().startswith("1 of 3 benchmarks fell")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["scan: 4 x", "gcg: 7.9 x", "new: 1 x"]
