"""The order in which this repository's claims run: searches first."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the searches first: they take longest, and at the end one worker would run them while the other waits."""
    items.sort(key=lambda item: not item.nodeid.startswith("hypotheses/search/"))
