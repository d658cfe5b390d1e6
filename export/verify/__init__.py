"""Proof that every form of a network spikes the same: back ends, comparison, certificate."""
