"""Programs as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gamekit.errors import InputError
from games.fences.program.naive import naive_placements
from games.fences.program.program import Program
from games.fences.program.schedule import shared_levels

# An operation that may not run on a device never gets there; its time is of no account.
NEVER = 0.0


@struct.dataclass
class Tables:
    """P programs of at most N operations, padded; C conditions at most, K = 2 ** C outcomes.

    Operations are in the order in which they are offered: `offered_order`.
    valid: bool [P, N]. before, data: float32 [P, N, N], 1 where the
        second one (column) comes before the first one, and where the first one reads it.
    may: bool [P, N, 2], the devices; time: float32 [P, N, 2]; tail: float32 [P, N, K].
    runs: bool [P, N, K]; share: float32 [P, N], of the outcomes.
    bytes: float32 [P, N], times the share.
    levels: int32 [P, N], ifs around it; shared: int32 [P, N, N], ifs that the second one (column)
        shares with the first one right before it.
    weights: float32 [P, 6]: instruction, fence, sync, byte, time, latency.
    naive: float32 [P], the cost of the naive schedule; span: float32 [P], its makespan.
    """

    valid: jax.Array
    before: jax.Array
    data: jax.Array
    may: jax.Array
    time: jax.Array
    tail: jax.Array
    runs: jax.Array
    share: jax.Array
    bytes: jax.Array
    levels: jax.Array
    shared: jax.Array
    weights: jax.Array
    naive: jax.Array
    span: jax.Array


def offered_order(program: Program) -> list[int]:
    """Operations as questions offer them: those with the longest way to the end first."""
    mean = [sum(tail) / len(tail) for tail in program.tails]
    return sorted(range(len(program.operations)), key=lambda i: (-mean[i], i))


def build_tables(programs: Sequence[Program]) -> Tables:
    """The arrays of programs.

    Raises:
      InputError: a program's naive schedule costs nothing.
    """
    operations = max(len(p.operations) for p in programs)
    outcomes = max(len(p.outcomes) for p in programs)
    rows = [_row(p, operations, outcomes) for p in programs]
    tables = {name: jnp.asarray(np.stack([row[name] for row in rows])) for name in rows[0]}
    return Tables(**tables)


def _row(program: Program, n: int, k: int) -> dict[str, np.ndarray]:
    order = offered_order(program)
    count, outcomes = len(order), len(program.outcomes)
    ops = [program.operations[i] for i in order]
    at = {number: i for i, number in enumerate(order)}
    copies = k // outcomes
    row: dict[str, np.ndarray] = {
        "valid": np.arange(n) < count,
        "before": np.zeros((n, n), np.float32),
        "data": np.zeros((n, n), np.float32),
        "may": np.zeros((n, 2), bool),
        "time": np.full((n, 2), NEVER, np.float32),
        "tail": np.zeros((n, k), np.float32),
        "runs": np.zeros((n, k), bool),
        "share": np.zeros(n, np.float32),
        "bytes": np.zeros(n, np.float32),
        "levels": np.zeros(n, np.int32),
        "shared": np.zeros((n, n), np.int32),
    }
    for i, op in enumerate(ops):
        row["before"][i, [at[p] for p in op.before]] = 1
        row["data"][i, [at[p] for p in op.data]] = 1
        row["may"][i] = [op.may_run(device) for device in (0, 1)]
        row["time"][i] = [NEVER if t is None else t for t in op.times]
        # With fewer conditions than other programs every outcome is there more than once.
        row["tail"][i] = np.tile(program.tails[order[i]], copies)
        row["runs"][i] = np.tile(program.runs[order[i]], copies)
        row["share"][i] = program.share[order[i]]
        row["bytes"][i] = op.bytes * program.share[order[i]]
        row["levels"][i] = len(op.guard)
        row["shared"][i, :count] = [shared_levels(op.guard, other.guard) for other in ops]
    w = program.weights
    row["weights"] = np.array(
        [w.instruction, w.fence, w.sync, w.byte, w.time, w.latency], np.float32
    )
    cost, span = naive_cost(program)
    if cost <= 0:
        raise InputError(f"{program.name}: its naive schedule costs nothing; give it weights")
    return row | {"naive": np.array(cost, np.float32), "span": np.array(span, np.float32)}


def naive_cost(program: Program) -> tuple[float, float]:
    """Cost and mean makespan of the naive schedule."""
    clock = np.zeros((2, len(program.outcomes)))
    last: list[int | None] = [None, None]
    where: dict[int, int] = {}
    ifs = fences = 0
    crossing: set[int] = set()
    for placement in naive_placements(program):
        number, device = placement.operation, placement.device
        op = program.operations[number]
        if after := placement.fences_after:
            clock[device] = np.maximum(clock[device], clock[1 - device] + program.weights.latency)
            fences += len(after)
        previous = last[device]
        guard = () if previous is None else program.operations[previous].guard
        ifs += len(op.guard) - shared_levels(guard, op.guard)
        clock[device] += op.time(device) * np.array(program.runs[number])
        crossing |= {p for p in op.data if where[p] != device}
        last[device], where[number] = number, device
    span = float(clock.max(axis=0).mean())
    moved = sum(program.operations[p].bytes * program.share[p] for p in crossing)
    w = program.weights
    cost = w.instruction * (len(program.operations) + ifs) + (w.fence + w.sync) * fences
    return cost + w.byte * moved + w.time * span, span
