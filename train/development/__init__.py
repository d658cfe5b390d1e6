"""Structural development of SLAYER models: masks on their synapses, and the Developer that changes them."""
