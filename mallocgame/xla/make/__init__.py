"""Makes programs and suites out of what was compiled."""
