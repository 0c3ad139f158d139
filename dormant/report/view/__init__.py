"""One self-contained HTML page of a hunt, of a run of claims, or of two of either compared."""
