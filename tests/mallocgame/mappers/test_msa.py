"""MSA's parts against the expectations of XLA's own tests, and its decisions on small programs.

Numbers marked (XLA) are those of upstream's tests of that name: memory_space_assignment_test.cc and
prefetch_interval_picker_test.cc.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mallocgame.game.options import GameConfig
from mallocgame.judge import simulate, verify
from mallocgame.mappers.msa import msa, msa_library
from mallocgame.mappers.msa.algorithm import Algorithm
from mallocgame.mappers.msa.cost import Cost, sort_order
from mallocgame.mappers.msa.heap import Heap, HeapBlock
from mallocgame.mappers.msa.mapper import PRODUCTION
from mallocgame.mappers.msa.picker import IntervalPicker, Ratios
from mallocgame.mappers.msa.resource import CopyResource
from mallocgame.program import Access, Instruction, Program, Value, load_program, validate
from mallocgame.program.machine import Machine
from mallocgame.suites import SUITES
from mallocgame.synthetic.random_programs import random_program


def _add(resource: CopyResource, *copy: float) -> None:
    start, end, seconds = int(copy[0]), int(copy[1]), copy[2]
    assert resource.has_enough(start, end, seconds)
    resource.add(start, end, seconds)


# (XLA) AsynchronousCopyResourceTest.Propagate, PropagateRemove
def test_a_copy_pushes_those_behind_it():
    resource = CopyResource([2.0] * 10)
    _add(resource, 6, 10, 2.0)
    assert resource.left() == [2, 2, 2, 2, 2, 2, 2, 0, 2, 2]
    for start in (5, 4, 3, 2, 1):
        _add(resource, start, start + 4, 2.0)
    assert resource.left() == [2, 2, 0, 0, 0, 0, 0, 0, 2, 2]
    _add(resource, 0, 4, 3.0)
    assert resource.left() == [2, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    _add(resource, 0, 4, 3.0)
    assert resource.left() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert not resource.has_enough(0, 4, 1.0)
    resource.remove(0, 4, 3.0)
    assert resource.left() == [2, 0, 0, 0, 0, 0, 0, 0, 1, 2]
    resource.remove(0, 4, 3.0)
    assert resource.left() == [2, 2, 0, 0, 0, 0, 0, 0, 2, 2]


# (XLA) CantPropagate
def test_a_copy_may_not_make_another_one_late():
    resource = CopyResource([2.0] * 10)
    _add(resource, 5, 10, 2.0)
    assert resource.left() == [2, 2, 2, 2, 2, 2, 0, 2, 2, 2]
    _add(resource, 4, 7, 2.0)
    assert resource.left() == [2, 2, 2, 2, 2, 0, 0, 2, 2, 2]
    _add(resource, 4, 8, 4.0)
    assert resource.left() == [2, 2, 2, 2, 2, 0, 0, 0, 0, 2]
    assert not resource.has_enough(3, 6, 4.0)
    with pytest.raises(ValueError, match="no supply"):
        resource.add(3, 6, 4.0)
    assert resource.left() == [2, 2, 2, 2, 2, 0, 0, 0, 0, 2]


# (XLA) Nested, NestedRemove
def test_a_copy_is_served_before_one_that_starts_later():
    resource = CopyResource([2.0] * 5)
    _add(resource, 1, 3, 2.0)
    assert resource.left() == [2, 2, 0, 2, 2]
    assert not resource.has_enough(0, 4, 4.0)
    resource.remove(1, 3, 2.0)
    _add(resource, 0, 4, 4.0)
    assert resource.left() == [2, 0, 0, 2, 2]
    assert not resource.has_enough(1, 3, 2.0)
    resource.remove(0, 4, 4.0)
    assert resource.left() == [2, 2, 2, 2, 2]
    assert resource.has_enough(1, 3, 2.0)


# (XLA) Remove
def test_removed_copies_give_their_supply_back():
    resource = CopyResource([2.0] * 5)
    _add(resource, 2, 5, 2.0)
    assert resource.left() == [2, 2, 2, 0, 2]
    _add(resource, -1, 2, 3.0)
    assert resource.left() == [0, 1, 2, 0, 2]
    _add(resource, 0, 4, 4.0)
    assert resource.left() == [0, 0, 0, 0, 1]
    resource.remove(0, 4, 4.0)
    assert resource.left() == [0, 1, 2, 0, 2]
    resource.remove(2, 5, 2.0)
    assert resource.left() == [0, 1, 2, 2, 2]
    resource.remove(-1, 2, 3.0)
    assert resource.left() == [2, 2, 2, 2, 2]
    with pytest.raises(ValueError, match="there is no copy"):
        resource.remove(-1, 2, 3.0)


# (XLA) StartAtZeroAndRemove
def test_slots_without_supply():
    resource = CopyResource([0.0, 0.0, 1.0, 1.0, 2.0])
    for _ in range(2):
        _add(resource, 0, 4, 2.0)
        assert resource.left() == [0, 0, 0, 0, 2]
        resource.remove(0, 4, 2.0)
        assert resource.left() == [0, 0, 1, 1, 2]


# (XLA) OutOfOrderRemovalSameStartTime
def test_copies_of_one_start_in_any_order():
    resource = CopyResource([2.0] * 5)
    _add(resource, 1, 3, 1.0)
    _add(resource, 1, 4, 2.0)
    assert resource.left() == [2, 2, 0, 1, 2]
    resource.remove(1, 3, 1.0)
    assert resource.left() == [2, 2, 0, 2, 2]
    for left in ([2, 2, 0, 1, 2], [2, 2, 0, 0, 2], [2, 2, 0, 0, 1], [2, 2, 0, 0, 0]):
        _add(resource, 1, 5, 1.0)
        assert resource.left() == left
    assert not resource.has_enough(1, 5, 1.0)
    resource.remove(1, 4, 2.0)
    assert resource.left() == [2, 2, 0, 0, 2]


# (XLA) HasEnoughResourceMultiCheckSuccess, ...Failure, ...RegressionTest
def test_two_copies_at_once():
    resource = CopyResource([2.0, 1.0, 3.0, 6.0, 7.0, 3.0, 7.0, 2.0, 2.0, 4.0])
    _add(resource, -1, 3, 5.0)
    assert resource.left() == [0, 0, 1, 6, 7, 3, 7, 2, 2, 4]
    _add(resource, 1, 10, 4.0)
    assert resource.left() == [0, 0, 0, 3, 7, 3, 7, 2, 2, 4]
    _add(resource, 0, 6, 4.0)
    assert not resource.has_enough(4, 6, 4.0)
    _add(resource, 4, 6, 3.0)
    assert resource.left() == [0, 0, 0, 0, 6, 0, 7, 2, 2, 4]
    resource = CopyResource([24, 0, 6, 411, 3479, 0, 0, 1537, 3095, 0, 26.7])
    _add(resource, 1, 8, 170.8)
    _add(resource, 2, 8, 170.8)
    _add(resource, 0, 4, 170.8)
    assert not resource.has_enough(1, 4, 170.8)


# (XLA) CostAnalysisPrefetchIntervalPickerTest.PrefetchIntervalOrder: a copy takes 3, an instruction
# 1, the use becomes 0.5 faster; 24 instructions.
def test_order_of_prefetch_starts():
    picker = IntervalPicker([1.0] * 24, [0] * 24, Ratios(1.0, 2.0, 4.0), memory_copy_s=3.0)
    starts = list(picker.starts(0, 22, copy_s=3.0, gain_s=0.5))
    assert starts == [15, 16, 14, 17, 13, 18, 12, 11, 10, 9]
    assert list(picker.starts(19, 22, 3.0, 0.5)) == []


# (XLA) PrefetchIntervalOrderWhile: the loop's condition and body stand in the slots 19 to 24.
def test_prefetches_do_not_start_in_a_loop_before_their_use():
    nesting = [1 if 19 <= t <= 24 else 0 for t in range(32)]
    elapsed = [0.0 if t == 25 else 1.0 for t in range(32)]
    picker = IntervalPicker(elapsed, nesting, Ratios(1.0, 2.0, 12.0), memory_copy_s=3.0)
    assert list(picker.starts(0, 31, 3.0, 0.5)) == [25, 26, 18, 27, 17]


# (XLA) NestedWhile
def test_latest_start_before_nested_loops():
    nesting = [0] * 5 + [1] * 6 + [2] * 6 + [1] * 4 + [0] * 3
    picker = IntervalPicker([1.0] * 24, nesting, Ratios(1.0, 2.0, 12.0), memory_copy_s=3.0)
    assert picker.latest_start(0, 23, 3.0, 0.5) == 4


def _fill(heap: Heap, *blocks: HeapBlock) -> None:
    for block in blocks:
        heap.add(block)


def test_heap_takes_the_smallest_gap_and_looks_ahead():
    heap = Heap(100, [0] * 20)
    _fill(
        heap, HeapBlock(10, 20, [(0, 9)]), HeapBlock(10, 50, [(0, 9)]), HeapBlock(50, 0, [(12, 14)])
    )
    assert heap.find(20, [(0, 5)]) == 0  # gaps: [0, 20), [30, 50), [60, 100)
    assert heap.find(20, [(0, 5)], preferred=30) == 30
    assert heap.find(20, [(0, 5)], preferred=45) is None
    assert heap.find(41, [(0, 5)]) is None
    assert heap.find(20, [(10, 11)]) == 0
    assert heap.find_lasting(20, 0, 5, [9, 13]) == 60  # free until 13, the others only until 9
    assert heap.find_lasting(20, 0, 5, [9]) == 0
    assert heap.find_lasting(41, 0, 5, [9]) is None


def test_heap_respects_reservations():
    heap = Heap(100, [0, 0, 40, 0])
    assert heap.find(20, [(0, 1)]) == 0
    assert heap.find(20, [(0, 2)]) == 40
    assert heap.find(20, [(2, 3)], preferred=20) is None
    assert heap.find(61, [(1, 2)]) is None


# (XLA) Repack: a fragmented heap makes room when its blocks are laid anew.
def test_repacking_makes_room():
    heap = Heap(100, [0] * 10)
    blocks = [HeapBlock(20, 40, [(0, 9)]), HeapBlock(10, 10, [(3, 4)])]
    _fill(heap, *blocks)
    assert heap.find(70, [(0, 2)]) is None
    assert heap.repack()
    assert blocks[0].offset == 0
    assert heap.find(70, [(0, 2)]) == 20
    crowded = Heap(100, [0] * 10)
    blocks = [HeapBlock(60, 0, [(0, 9)]), HeapBlock(60, 0, [(0, 9)])]
    _fill(crowded, *blocks)
    assert not crowded.repack()
    assert [b.offset for b in blocks] == [0, 0]
    crowded.remove(blocks[0])
    assert crowded.repack()
    assert crowded.find(40, [(9, 9)]) == 60


def _program(capacity: int, sizes: list[int], rows: list[tuple], inputs=(), outputs=()) -> Program:
    """rows: (reads, write or None) per instruction; one byte a second, fast memory ten."""
    machine = Machine("m", capacity, 1, 1.0, 10.0)
    values = tuple(
        Value(f"v{v}", size, is_input=v in inputs, is_output=v in outputs)
        for v, size in enumerate(sizes)
    )
    accesses = []
    defined: set[int] = set()
    for t, (reads, write) in enumerate(rows):
        accesses += [Access(t, v, "read", (k,), sizes[v]) for k, v in enumerate(reads)]
        if write is not None:
            accesses.append(
                Access(t, write, "write", (0,), sizes[write], defines=write not in defined)
            )
            defined.add(write)
    instructions = tuple(Instruction(f"i{t}") for t in range(len(rows)))
    program = Program("p", machine, instructions, values, tuple(accesses))
    validate(program)
    return program


# (XLA) NegateChain: a chain of negations of one input, the other input is added at the end: the
# intermediate values stay in fast memory, the second input is prefetched behind the chain.
def test_negate_chain():
    rows = [((0,), 2), *(((v,), v + 1) for v in range(2, 8)), ((8, 1), 9)]
    program = _program(64, [6] * 10, rows, inputs=(0, 1), outputs=(9,))
    mapping = msa(program, GameConfig(), 0.0, 0).mapping
    assert verify(program, mapping) == []
    defined = {r.value for r in mapping.residencies if r.arrival == "defined"}
    assert defined == set(range(2, 9))
    assert [(p.value, p.end) for p in mapping.prefetches if p.value == 1] == [(1, 7)]
    assert mapping.evictions == ()


# (XLA) EvictAndPrefetch: a value read at both ends of a long chain gives way to the chain's values
# and comes back.
def test_evict_and_prefetch():
    rows = [((0,), 2), ((2,), 3), *(((v,), v + 1) for v in range(3, 14)), ((14, 2), 15)]
    program = _program(13, [6] * 16, rows, inputs=(0, 1), outputs=(15,))
    preset = dataclasses.replace(PRODUCTION, ratios=Ratios(1.0, 1.5, 2.0))
    chains = Algorithm(program, preset).run()
    mine = [c for c in chains if c.value == 2]
    assert [c.copied is not None for c in mine] == [False, True]
    assert mine[0].evicted is not None
    assert mine[0].evicted[1] - 1 <= mine[1].begin - 1 < 13


# (XLA) MemoryBoundednessBufferIntervalCompare: bandwidth-bound buffers first, and at equal worth
# per size the smaller saves more per square root of its size only if it is used more.
def test_sort_order_is_by_worth_over_root_of_size():
    rows = [((0,), 2), ((1, 2), 3), ((1, 3), 4), ((4,), 5)]
    program = _program(64, [16, 4, 16, 4, 4, 4], rows, inputs=(0, 1), outputs=(5,))
    cost = Cost(program, byte_s=1.0)
    # bytes moved / sqrt(size): v0 16/4, v1 8/2, v2 32/4, v3 8/2, v4 8/2, v5 4/2
    assert [cost.boundedness([v]) for v in range(6)] == [4, 4, 8, 4, 4, 2]
    # ties: larger first, then defined earlier
    assert sort_order(cost, [[v] for v in range(6)]) == [2, 0, 1, 3, 4, 5]


def test_loops_count_five_times_a_level():
    program = load_program(SUITES / "tpu_v4_sample" / "lstm_scan_v4_64mib.program.json.gz")
    cost = Cost(program, byte_s=1.0)
    wh = next(v for v, value in enumerate(program.values) if value.name == "wh.1")
    size = program.values[wh].size_bytes
    assert cost.boundedness([wh]) == pytest.approx(5 * size / size**0.5)


def test_lstm_is_placed_as_production_places_it():
    from mallocgame.suites import load_production

    path = SUITES / "tpu_v4_sample" / "lstm_scan_v4_64mib.program.json.gz"
    program = load_program(path)
    production = load_production(path, program)
    mine = msa(program, GameConfig(), 0.0, 0).mapping
    assert production is not None
    stays = [
        {(r.value, r.start, r.end, r.arrival) for r in m.residencies} for m in (mine, production)
    ]
    assert stays[0] == stays[1]


@pytest.mark.parametrize("seed", range(40))
def test_mappings_are_legal_on_odd_programs(seed):
    program = random_program(np.random.default_rng([4, seed]))
    for mapper in (msa, msa_library):
        mapping = mapper(program, GameConfig(), 0.0, 0).mapping
        assert verify(program, mapping) == []
        simulation = simulate(program, mapping)
        assert simulation.latency_s <= simulation.all_slow_latency_s
