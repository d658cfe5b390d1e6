"""Neuron models: their types, and what a step of each one does."""
