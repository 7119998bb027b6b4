"""Runs the compiler, in processes of its own."""
