"""The one door to the archived Lava packages: import repairs, child processes, probes."""
