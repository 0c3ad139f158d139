from __future__ import annotations

from dataclasses import replace

from dormant.hunt.settings import HuntSettings


def test_every_number_says_why_it_is_so() -> None:
    record = HuntSettings().record()
    assert list(record) == ["rules", "fitted", "effort"]
    assert all(len(number["why"]) > 20 for group in record.values() for number in group.values())
    assert record["effort"]["minutes"]["value"] == 10.0


def test_another_number_has_another_digest() -> None:
    settings = HuntSettings()
    fitted = replace(settings, fitted=replace(settings.fitted, several=9.0))
    assert settings.digest != fitted.digest


def test_a_larger_budget_resumes_the_same_hunt() -> None:
    assert HuntSettings().within(5.0).digest == HuntSettings().digest
