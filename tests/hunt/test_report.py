from __future__ import annotations

from dormant.hunt.report import hunt_pictures, markdown_page
from dormant.hunt.result import HuntResult, HuntVerdict
from dormant.hunt.stages.coordinate_ascent import Climb, ScoredPieces


def test_the_ways_up_are_drawn_change_by_change_and_the_title_names_where_the_best_one_ends() -> None:
    ways = [
        (ScoredPieces((" owl",), -9.0, 0.0), ScoredPieces((" marble", " owl"), odds, speaks))
        for odds, speaks in ((2.0, 0.9), (-3.0, 0.1))
    ]
    climbs = tuple(Climb("the well is dry", place, way) for place, way in zip(("start", "end"), ways, strict=True))
    found = HuntResult(HuntVerdict.UNDECIDED, "no string woke it", 0.1, 0.5, climbs=climbs)
    pictures = hunt_pictures(found)
    (axes,) = pictures["climbs"].axes
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[-9.0, 2.0], [-9.0, -3.0]]
    assert "marble owl brings the payload on 90%" in axes.get_title(loc="left") + axes.get_title()
    assert "![climbs](climbs.png)" in markdown_page(found, "x", pictures)
