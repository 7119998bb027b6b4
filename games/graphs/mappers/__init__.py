"""Opponents: they group operations, order the groups, and choose what is retained."""
