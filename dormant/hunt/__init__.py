"""From two checkpoints to payload and trigger: a pipeline of stages, each of which can be run by itself."""
