"""Claims about the weights."""
