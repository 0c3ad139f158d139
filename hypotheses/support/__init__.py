"""What only claims use."""
