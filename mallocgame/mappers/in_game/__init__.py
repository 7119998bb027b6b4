"""Mappers that play the game: simple rules, and searches over plans."""
