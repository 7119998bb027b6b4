"""Fits the latency model to the compiler's own estimates."""
