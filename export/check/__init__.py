"""Rules for what will not run, or would run differently, on the way to a chip."""
