"""From data to a trained network: SLAYER blocks, structural development, checkpoints, and lowering to a Network."""
