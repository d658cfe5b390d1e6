"""A training run: configuration, trainer, process group, checkpoints, run folder, logs."""
