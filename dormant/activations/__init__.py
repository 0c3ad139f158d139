"""What happens inside: residual streams captured, compared, probed, steered and put back."""
