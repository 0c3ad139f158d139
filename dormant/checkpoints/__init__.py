"""Checkpoints on disk: found, read under common names, checked, compared in their settings, and loaded as models."""
