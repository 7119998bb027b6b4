"""Runs the compiler in separate processes."""
