"""What operations take at least, wherever they run."""

from __future__ import annotations

from games.cores.problem.problem import Problem


class Bounds:
    """Lists over the values of a problem.

    tail: least time from the start of an operation to the end of everything. behind: the same from
    its end. energy: least of an operation. delivery_energy: least to bring a wanted value to
    external memory from another one. fetch_energy: least to take a value out of external memory
    where all of its readers read from other memories, else 0.
    """

    def __init__(self, problem: Problem):
        count = len(problem.values)
        external = problem.external
        given = set(problem.given)
        self.tail, self.behind = [0] * count, [0] * count
        self.energy, self.delivery_energy = [0.0] * count, [0.0] * count
        self.fetch_energy = [0.0] * count
        into = [c for c, x in enumerate(problem.channels) if x.target == external]
        out_of = [c for c, x in enumerate(problem.channels) if x.source == external]
        readable = [False] * count  # in external memory
        for a in problem.allocations:
            for v, m in zip(problem.values[a.value].inputs, a.inputs, strict=True):
                readable[v] |= m == external
        for v in reversed(problem.operations):
            ways = [problem.allocations[a] for a in problem.allocations_of[v]]
            self.behind[v] = max((self.tail[c] for c in problem.consumers[v]), default=0)
            if v in problem.wanted and all(a.output != external for a in ways):
                self.behind[v] = max(self.behind[v], min(problem.transfer_time(c, v) for c in into))
                self.delivery_energy[v] = min(problem.transfer_energy(c, v) for c in into)
            self.tail[v] = min(a.time for a in ways) + self.behind[v]
            self.energy[v] = min(a.energy for a in ways) + self.delivery_energy[v]
        for v in range(count):
            if problem.consumers[v] and not readable[v] and v in given:
                self.fetch_energy[v] = min(
                    (problem.transfer_energy(c, v) for c in out_of), default=0.0
                )
