"""Mappers make a mapping for a program without learning; bounds prove how good one can be.

`registry` names them.  `in_game` holds those that play the game: simple rules, and searches over
decisions fixed in advance.  `layouts` holds local search and the stays it chooses from, `msa` the
production compiler's algorithm, and `linear` the linear model, its bound and the exact mapper.
"""
