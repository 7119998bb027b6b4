"""Mappers that lay values out in memory and time, outside the game's order."""
