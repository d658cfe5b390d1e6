"""Placement for another objective than fewest cores: speed, energy, or even work."""
