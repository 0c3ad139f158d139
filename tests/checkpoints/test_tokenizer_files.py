"""Tokenizers of equal files are loaded once; what one folder's tokenizer is told, another's does not hear."""

from __future__ import annotations

from pathlib import Path

from dormant.checkpoints.tokenizer_files import load_tokenizer
from tests.builders import copy_checkpoint
from tests.checkpoints import situations as made


def test_equal_folders_share_tables_and_no_settings(tiny_base: Path, tmp_path: Path) -> None:
    first, second = load_tokenizer(tiny_base), load_tokenizer(copy_checkpoint(tiny_base, tmp_path / "same"))
    assert first is not second
    assert first.backend_tokenizer is second.backend_tokenizer
    first.chat_template, first.pad_token = "other", "<|im_end|>"
    assert (second.chat_template, second.pad_token) != (first.chat_template, first.pad_token)
    assert load_tokenizer(tiny_base).pad_token == second.pad_token


def test_a_folder_that_changes_is_loaded_anew(tiny_base: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(tiny_base, tmp_path / "changing")
    before = load_tokenizer(folder)
    made.added_token(folder)
    assert "[PAD]" not in before.get_vocab()
    assert load_tokenizer(folder).get_vocab()["[PAD]"] == 300
