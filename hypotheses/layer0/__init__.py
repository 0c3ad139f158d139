"""Claims about the first attention."""
