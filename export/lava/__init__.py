"""Lava's fixed-point processes: built from a Network and run in a child process."""
