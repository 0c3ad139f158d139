"""What the `dormant` command does, one file a family; `dormant.cli` puts them together."""
