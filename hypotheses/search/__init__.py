"""The claims about searches."""
