"""Checks of the installation: versions, Lava, compilers, accelerators."""
