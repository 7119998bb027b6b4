"""Makes programs and suites from compiled functions."""
