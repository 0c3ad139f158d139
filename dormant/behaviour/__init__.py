"""Watching what the models say."""
