"""Frames to lines: pure functions, without Textual. A line is a tuple of runs of text, inked by meaning."""
