"""The shared words of sdsnn: what a deployable network is, what it means, and how its structure develops."""
