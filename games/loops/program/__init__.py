"""Computations, loop nests over them, and what they cost, as data (docs/loops.md)."""
