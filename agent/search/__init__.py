"""The tree search at every move."""

from agent.search.models import (
    OBSERVATION_DTYPE,
    Path,
    TreeModel,
    game_model,
    learned_model,
    observe,
    one_ply_model,
    tree_model,
    walk,
)
from agent.search.search import SearchResult, scaled_values, search

__all__ = [
    "OBSERVATION_DTYPE",
    "Path",
    "SearchResult",
    "TreeModel",
    "game_model",
    "learned_model",
    "observe",
    "one_ply_model",
    "scaled_values",
    "search",
    "tree_model",
    "walk",
]
