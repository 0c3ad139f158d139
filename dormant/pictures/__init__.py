"""Pictures of measurements: pure functions from numbers to matplotlib figures, above everything that draws them."""
