"""Places buffers in fast memory: offsets for items that are alive over intervals of slots."""
