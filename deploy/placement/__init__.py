"""Placement of a network on the cores of a chip."""
