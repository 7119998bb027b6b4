"""Generated programs: random ones, and ones with a known optimum."""
