"""What is asked: probes with a slot, conversations, shipped material, and the tokens that a search may use."""
