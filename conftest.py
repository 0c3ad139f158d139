"""This repository's own runs; the claims' options and fixtures come from `dormant.plugin`, which pyproject.toml loads."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # builds and pytester start children after a tokenizer has run
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # a test run tells nobody anything
