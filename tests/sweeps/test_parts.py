from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from dormant.errors import BadInput
from dormant.sweeps.parts import Spread


def test_the_folder_of_the_parts_is_the_named_one_else_one_in_the_working_folder_which_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Spread(2, folder=Path("kept")).place("scan") as folder:
        assert folder == tmp_path / "kept"
    with Spread(2).place("scan") as folder:
        assert folder.parent == tmp_path
    assert not folder.exists()


def test_a_working_folder_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**options: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dormant.sweeps.parts.TemporaryDirectory", refused)
    with (
        pytest.raises(
            BadInput, match="the working folder must be writable for the parts of a scan; got Permission denied"
        ),
        Spread(2).place("scan"),
    ):
        pass
