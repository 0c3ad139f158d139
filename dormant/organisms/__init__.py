"""Organisms: small models with a planted backdoor, built by recipe, trained and verified."""
