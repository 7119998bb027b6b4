"""The tree search at every move."""
