"""Command lines that know no particular game."""
