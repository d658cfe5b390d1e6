"""SLAYER models: building them, losses, evaluation, and lowering them to a Network."""
