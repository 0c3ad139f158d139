"""The stages of a hunt, one a file, in `dormant.hunt.pipeline` listed in their order."""
