"""Which claims xdist keeps on one worker: those on one pair, whose models are then loaded once."""

from __future__ import annotations

import pytest

from dormant.claims.claim import claim_of


class PairGroups:
    """A plugin of its own, because its hook must come before the one in which xdist reads the groups."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Makes the claims on a pair one group of `--dist loadgroup`; a group that was given before stays."""
        for item in items:
            pair = getattr(item, "callspec", None) and item.callspec.params.get("pair")  # type: ignore[attr-defined]
            if pair and claim_of(getattr(item, "function", None)) and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(str(pair)))
