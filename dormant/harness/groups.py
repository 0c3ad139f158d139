"""Which claims xdist keeps on one worker: those on one pair, whose models are then loaded once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from dormant.claims.claim import claim_of


class PairGroups:
    """A plugin of its own, because its hook must come before and after the one in which xdist reads the groups."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Makes the claims on a pair one group of `--dist loadgroup`; a group that was given before stays.

        xdist 3.8 writes a group behind a test's id in an attribute that pytest 9.2 no longer reads, and then groups nothing.
        """
        for item in items:
            pair = getattr(item, "callspec", None) and item.callspec.params.get("pair")  # type: ignore[attr-defined]
            if pair and claim_of(getattr(item, "function", None)) and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(str(pair)))
        result = yield
        for item in items:
            written: Any = getattr(item, "_nodeid", None)
            if written and written != item.nodeid and hasattr(item, "_id"):
                item._id = type(item._id).parse(written)
        return result
