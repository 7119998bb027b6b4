"""Siblings of the mallocGame, each in its own package."""
