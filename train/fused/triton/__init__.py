"""The fused passes as Triton kernels, for CUDA tensors."""
