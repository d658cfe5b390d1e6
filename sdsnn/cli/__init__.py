"""The `sdsnn` command: one file per command, each a thin layer over one library function."""
