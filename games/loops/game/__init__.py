"""The game in pure JAX."""
