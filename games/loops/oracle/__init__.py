"""The rules in plain Python, written from docs/loops.md alone."""
