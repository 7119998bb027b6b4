"""The command `mallocgame`: one module for each part of it."""
