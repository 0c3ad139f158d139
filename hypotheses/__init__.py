"""Every claim about every known pair, as tests."""
