"""Simulation of a network over a data set on any target."""
