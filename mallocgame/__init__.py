"""The mallocGame: memory mapping of tensor programs as a single-player game."""
