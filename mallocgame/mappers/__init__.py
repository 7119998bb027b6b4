"""Mappers: what makes a mapping for a program without learning, and how far it is from the best.

`registry` names them.  `plans` plays decisions fixed in advance, `rules`, `game_search` and
`evolution` make such decisions; `stays` and `layout` are what `local_search` works on, `msa` is the
production compiler's algorithm; `relaxation`, `bound` and `exact` are the linear model.
"""
