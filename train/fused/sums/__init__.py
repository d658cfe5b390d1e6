"""Sums of weighted spikes (synaptic currents) and their gradients, on time-major tensors on the CPU."""
