"""From data to a trained network: SLAYER blocks, structural development, checkpoints, and lowering to a Network."""

import os

# torch reads this before its first allocation, and never again: large tensors on huge pages, where the kernel grants
# them on request (docs/fused_neuron.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
