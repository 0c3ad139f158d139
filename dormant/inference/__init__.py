"""Running models: batches, likelihoods, generation, caches and objectives."""
