"""Damaged files of every kind that sdsnn reads, each read in a process of its own: `make fuzz-files`."""
