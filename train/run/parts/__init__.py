"""Parts of a run: loop, optimiser, schedule, initial weights; from a configuration or from the user."""
