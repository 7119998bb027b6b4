"""XLA's memory space assignment (MSA), rewritten from its published design.

`cost` says what a buffer is worth and how long things take, `picker` when a prefetch may start,
`resource` whether the bus can take another copy, `heap` where a buffer fits.  `algorithm` decides
on stays (`chain`), and `mapper` turns them into a mapping under this project's rules.  Not
modelled: sliced, window, block and cross-program prefetches, and the optimiser for memory-bound
loops.
"""

from mallocgame.mappers.msa.mapper import msa, msa_library

__all__ = ["msa", "msa_library"]
