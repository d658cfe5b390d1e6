"""Decoders of files of events: bytes to events in microseconds, with numpy only."""
