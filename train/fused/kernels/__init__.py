"""The CPU kernels of the neuron and of the recurrent loop, compiled by numba, and the threads that run kernels."""
