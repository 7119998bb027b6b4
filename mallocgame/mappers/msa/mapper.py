"""MSA as a mapper: its decisions as a mapping that the judge accepts."""

from __future__ import annotations

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.base import Clock, Mapped
from mallocgame.mappers.msa.algorithm import Algorithm, Preset
from mallocgame.mappers.msa.chain import Chain
from mallocgame.mappers.msa.cost import PRODUCTION_BYTE_S
from mallocgame.mappers.msa.heap import Heap, HeapBlock
from mallocgame.mappers.msa.picker import IntervalPicker, Ratios
from mallocgame.mappers.msa.resource import CopyResource
from mallocgame.program import Program
from mallocgame.program.mapping import COPIED, DEFINED, Mapping, Residency, Transfer, all_slow

# The settings that the TPU v4 compiler reports in its dumps, and the open-source defaults.
PRODUCTION = Preset(Ratios(1.0, 2.0, 8.0), 2, 4, 40, 0.5, PRODUCTION_BYTE_S)
LIBRARY = Preset(Ratios(1.0, 2.0, 8.0), 1, 0, 40, 0.0, None)


def msa(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """MSA with production's settings.  Budget, seed and `config` have no effect."""
    return _map(program, PRODUCTION)


def msa_library(program: Program, config: GameConfig, budget_s: float, seed: int) -> Mapped:
    """MSA with the library's defaults."""
    return _map(program, LIBRARY)


def compile_kernels() -> None:
    """Compiles the kernels of MSA, or loads them where an earlier process has compiled them."""
    heap = Heap(16, [])
    heap.add(HeapBlock(8, 0, [(0, 1)]))
    heap.find(8, [(0, 1)])
    heap.find_lasting(8, 0, 1, [2])
    heap.repack()
    heap.remove(next(iter(heap.blocks.values())))
    picker = IntervalPicker([1.0] * 4, [0] * 4, PRODUCTION.ratios, 1.0)
    picker.may_stay(0, 3)
    picker.starts(0, 3, 1.0, 0.0)
    picker.eviction_end(0, 3, 1.0, 0)
    CopyResource([1.0] * 4).under_way(0, 2)


def _map(program: Program, preset: Preset) -> Mapped:
    clock = Clock(0.0)
    algorithm = Algorithm(program, preset)
    chains = algorithm.run()
    mapping = chains_mapping(program, chains)
    legal, dropped = drop_offenders(program, mapping)
    judged = simulate(program, legal)
    best = legal if judged.latency_s <= judged.all_slow_latency_s else all_slow(program)
    info = {
        "stays": float(len(mapping.residencies)),
        "dropped": float(dropped),
        "repacks": float(algorithm.repacks),
    }
    return Mapped(best, clock.seconds, info=info)


def chains_mapping(program: Program, chains: list[Chain]) -> Mapping:
    """The mapping that the chains describe, legal or not."""
    residencies, prefetches, evictions = [], [], []
    for chain in chains:
        arrival = COPIED if chain.copied else DEFINED
        begin, end = chain.begin - 1, chain.end
        residencies.append(Residency(chain.value, chain.block.offset, begin, end, arrival))
        if chain.copied:
            prefetches.append(Transfer(chain.value, chain.copied[0], chain.copied[1] - 1))
        if chain.evicted:
            evictions.append(Transfer(chain.value, chain.evicted[0], chain.evicted[1] - 1))
    return Mapping(
        program.name,
        program.fingerprint,
        tuple(residencies),
        tuple(prefetches),
        tuple(evictions),
    )


def drop_offenders(program: Program, mapping: Mapping) -> tuple[Mapping, int]:
    """The mapping without the values that break a rule, and their number; groups go as a whole.

    XLA's rules are wider than the judge's: a copy may cross the boundary of a loop's body.
    """
    partners: dict[int, set[int]] = {}
    for group in program.carried:
        family = {group.parameter, group.result}
        for member in tuple(family):
            family |= partners.get(member, set())
        for member in family:
            partners[member] = family
    gone: set[int] = set()
    while True:
        kept = Mapping(
            mapping.program,
            mapping.fingerprint,
            tuple(r for r in mapping.residencies if r.value not in gone),
            tuple(p for p in mapping.prefetches if p.value not in gone),
            tuple(e for e in mapping.evictions if e.value not in gone),
        )
        violations = verify(program, kept)
        if not violations:
            return kept, len(gone)
        for violation in violations:
            for value in violation.values:
                gone |= partners.get(value, {value})
