"""The game in plain Python, written from docs/cores.md alone."""
