"""Games beside the mallocGame, each a package with the same rooms (docs/contributing.md)."""
