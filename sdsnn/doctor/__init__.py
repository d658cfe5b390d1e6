"""Diagnosis of the installation: package versions, Lava, the numba compiler, GPU and optional packages."""
