"""Loihi 2 hardware through Intel's extension: probe, target, bundle."""
