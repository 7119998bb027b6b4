"""The linear model: a proven bound, and an exact mapper."""
