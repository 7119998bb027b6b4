"""The game as people know it from Gymnasium: spaces of observations, and an environment."""
