"""What most prompts agree on behind a forced token."""

from __future__ import annotations

import torch

from dormant.hunt.forced_tokens import Opened, consensus


def opened(rows: list[list[int]], ours: float, base: float) -> Opened:
    ids = torch.tensor(rows)[:, None]
    return Opened(torch.tensor([[7]]), ids, torch.full(ids.shape, ours), torch.full(ids.shape, base))


def test_evidence_is_what_the_base_lacks_along_what_most_prompts_agree_on() -> None:
    rows = [[1, 2, 3], [1, 2, 4], [1, 5, 3]]
    (one,) = consensus(opened(rows, ours=-1.0, base=-4.0), special=set(), common=set())
    assert (one.start, one.ids, one.agreement, one.whole) == ((7,), (7, 1, 2), 2 / 3, False)
    assert one.evidence == 3.0 + 3.0 * 2 / 3


def test_what_is_said_anyway_and_special_tokens_are_no_evidence() -> None:
    rows = [[1, 9, 3]] * 3
    (one,) = consensus(opened(rows, -1.0, -4.0), special={9}, common={(7, 1)})
    assert (one.ids, one.evidence, one.whole) == ((7, 1), 0.0, True)
