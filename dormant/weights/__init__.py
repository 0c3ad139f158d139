"""What a fine-tune changed in the weights: deltas, spectra, heads, and the tokens that they point at."""
