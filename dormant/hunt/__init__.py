"""From two checkpoints to the trigger: the rungs of the ladder, each a plain function that can be run by itself."""
