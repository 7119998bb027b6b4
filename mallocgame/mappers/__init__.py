"""Mappers: what makes a mapping for a program without learning.

`plans` plays decisions fixed in advance, `rules` makes such decisions.
"""
