"""The linear relaxation: a proven bound, and the shadow prices of memory and copies."""
