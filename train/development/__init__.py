"""Masks bound to SLAYER modules, and the Developer that moves them."""
