"""The rules of docs/graphs.md once more, in plain Python without the judge's and the game's code."""
