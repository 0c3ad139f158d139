"""Small models with a planted backdoor: recipes, training, acceptance, and the shipped zoo."""
