"""The rules of docs/graphs.md in plain Python, without the code of the judge and the game."""
