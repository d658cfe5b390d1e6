"""From a verified network to a chip: simulation, placement, energy, report."""
