from __future__ import annotations

from pathlib import Path

from dormant.report.provenance import device_name, git_commit, package_version, provenance


def test_provenance_holds_what_ran_and_no_secret_or_home() -> None:
    options = {"ledger": Path.home() / "ledger", "hf_token": "hf_abc", "base": "/home/someone/model"}
    record = provenance("cpu", "float32", 7, options)
    assert record["seed"] == "7"
    assert record["torch"].startswith("2.")
    assert record["option ledger"] == str(Path("~/ledger"))
    assert record["option base"] == "~/model"
    assert "hf_abc" not in str(record)
    assert str(Path.home()) not in str(record)


def test_outside_git_the_commit_is_unknown(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == "unknown"


def test_devices_and_packages_have_names() -> None:
    assert device_name("cpu").startswith("cpu: ")
    assert device_name("mps") == "mps"
    assert package_version("no-such-package-anywhere") == "absent"
