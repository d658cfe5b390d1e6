"""Commands on a network file: import, check, verify, compact."""
