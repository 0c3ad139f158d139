"""The exact scan: the largest difference of layer 0 over all pairs of tokens, heads and offsets."""
