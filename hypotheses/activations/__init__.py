"""Claims about activations."""
