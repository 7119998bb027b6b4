"""Fits the latency to the compiler's own estimates."""
