"""Search for strings that make the two models diverge, or that make the dormant one say a payload."""
