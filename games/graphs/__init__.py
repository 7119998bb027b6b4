"""Graph scheduling: which operations run together, at which tile size (docs/graphs.md)."""
