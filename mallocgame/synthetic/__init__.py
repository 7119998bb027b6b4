"""Programs from generators: random ones, and ones with a known optimum."""
