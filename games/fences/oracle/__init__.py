"""The rules of docs/fences.md in plain Python, without speed: the game is compared with it."""
