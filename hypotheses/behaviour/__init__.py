"""Claims about what the models say."""
