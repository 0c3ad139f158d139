"""Detection methods of the literature, each as one figure of suspicion that needs neither trigger nor payload."""
