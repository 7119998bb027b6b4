"""Production's stays and copies around loops, expressed within the rules.

The compiler's copies may be in progress while a loop runs, and what a body leaves in fast memory
may be what its next iteration begins with.  The rules know neither (docs/game.md, section 7): a
stay covers both ends of a loop or neither, and a copy lies in one segment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mallocgame.judge import simulate, verify
from mallocgame.program import Access, Program
from mallocgame.program.levels import Levels
from mallocgame.program.mapping import COPIED, Mapping, Residency, Transfer

# The most slots by which a copy may start earlier than the compiler started it.
EARLIEST = 16


def within_loops(program: Program, mapping: Mapping) -> tuple[Mapping, tuple[str, ...]]:
    """The mapping with all stays and copies within the rules at loops, and notes on changes."""
    notes: list[str] = []
    if program.loops:
        mapping = _LoopCloser(program, mapping, notes).closed()
        mapping = _one_segment(program, mapping, notes)
    return mapping, tuple(notes)


@dataclass(frozen=True)
class _Half:
    """A stay over one end of a loop only: the start ("entry") or the end ("exit") of its body."""

    stay: Residency
    loop: int
    side: str


class _LoopCloser:
    """The stays and copies of a mapping, changed until no stay covers only one end of a loop."""

    def __init__(self, program: Program, mapping: Mapping, notes: list[str]):
        self.program, self.mapping, self.notes = program, mapping, notes
        self.levels = Levels(program)
        self.stays = list(mapping.residencies)
        self.prefetches = {(t.value, t.start): t for t in mapping.prefetches}
        self.evictions = list(mapping.evictions)
        self.accesses: dict[int, list[Access]] = {}
        for access in program.accesses:
            self.accesses.setdefault(access.value, []).append(access)

    def closed(self) -> Mapping:
        """Splits stays one by one; each is split at most once per loop around it."""
        while (half := next(self._halves(), None)) is not None:
            self._split(half)
        return dataclasses.replace(
            self.mapping,
            residencies=tuple(sorted(self.stays, key=lambda r: (r.start, r.offset, r.value))),
            prefetches=tuple(sorted(self.prefetches.values(), key=lambda t: (t.end, t.value))),
            evictions=tuple(sorted(self.evictions, key=lambda t: (t.end, t.value))),
        )

    def _halves(self) -> Iterator[_Half]:
        """Stays over one end of a loop that no carried group explains, outer loops first."""
        parameters = {(g.loop, g.parameter) for g in self.program.carried}
        for stay in self.stays:
            inside, before = (self.levels.around(t) for t in (stay.end - 1, stay.start))
            entered = [i for i in inside if not self.levels.inside(stay.start, i)]
            left = [i for i in before if not self.levels.inside(stay.end - 1, i)]
            # From its definition on, the result has the parameter's place: that crosses no exit.
            entered += [
                i
                for i, loop in enumerate(self.program.loops)
                if (i, stay.value) in parameters and stay.start <= loop.entry < loop.exit < stay.end
            ]
            for side, loops in (("entry", entered), ("exit", left)):
                for loop in sorted(loops, key=lambda i: self.program.loops[i].entry):
                    if not self._is_carried(stay, loop, side):
                        yield _Half(stay, loop, side)

    def _is_carried(self, stay: Residency, number: int, side: str) -> bool:
        """Whether a carried group comes back to, or began at, the place of this stay."""
        loop = self.program.loops[number]
        for group in self.program.carried:
            mine, other = group.parameter, group.result
            slot = loop.exit - 1
            if side == "exit":
                mine, other, slot = other, mine, loop.entry
            if group.loop != number or stay.value != mine:
                continue
            is_used = any(
                self.levels.inside(a.instruction, number) for a in self.accesses.get(other, ())
            )
            return (side == "exit" and not is_used) or any(
                s.value == other and s.offset == stay.offset and s.start <= slot < s.end - 1
                for s in self.stays
            )
        return False

    def _name(self, value: int) -> str:
        return self.program.values[value].name

    def _touched(self, value: int, start: int, end: int) -> list[Access]:
        return [a for a in self.accesses.get(value, ()) if start <= a.instruction < end]

    def _last_write(self, stay: Residency, end: int) -> int:
        """The last slot before ``end`` at which a stay becomes dirty, or -1."""
        touched = self._touched(stay.value, stay.start, end)
        if stay.arrival == COPIED:
            touched = [a for a in touched if not a.defines]
        return max((a.instruction for a in touched if a.kind == "write"), default=-1)

    def _is_needed(self, value: int, slot: int) -> bool:
        """Whether slow memory must hold the value from a slot on; may err on the side of yes."""
        loops = self.levels.around(slot - 1)
        parts = {value, *(g.parameter for g in self.program.carried if g.result == value)}
        return (
            self.program.values[value].is_output
            or bool(self._touched(value, slot, len(self.program.instructions)))
            or any(
                self.levels.inside(a.instruction, loop)
                for loop in loops
                for part in parts
                for a in self.accesses.get(part, ())
            )
        )

    def _split(self, half: _Half) -> None:
        """Cuts a stay at one end of a loop; for reads behind the cut it is copied again."""
        stay, loop = half.stay, self.program.loops[half.loop]
        cut = loop.entry + 1 if half.side == "entry" else loop.exit
        value, name = stay.value, self._name(stay.value)
        index = self.stays.index(stay)
        copy = self.prefetches.pop((value, stay.start), None)
        front = self._front(stay, copy, cut)
        again = self._again(stay, cut)
        rear = again and dataclasses.replace(stay, start=again.start, arrival=COPIED)
        self.stays[index : index + 1] = [s for s in (front, rear) if s]
        if front and copy:
            self.prefetches[value, front.start] = copy
        if again:
            self.prefetches[value, again.start] = again
        self._split_evictions(stay, cut, again is not None)
        self.notes.append(
            f"{name}: its stay [{stay.start}, {stay.end}) crosses the {half.side} of a loop alone; "
            f"{'copied' if again else 'ends'} at {cut} here"
        )

    def _front(self, stay: Residency, copy: Transfer | None, cut: int) -> Residency | None:
        """The part of a stay before a cut; None if it serves no access."""
        ready = copy.end if copy else stay.start
        served = self._touched(stay.value, ready, cut)
        return dataclasses.replace(stay, end=cut) if served else None

    def _again(self, stay: Residency, cut: int) -> Transfer | None:
        """The copy for reads behind a cut; one that reads at the cut itself is too early for it."""
        touched = self._touched(stay.value, cut, stay.end)
        reads = [a.instruction for a in touched if a.kind == "read" and a.instruction > cut]
        if not reads:
            return None
        written = [a.instruction for a in touched if a.kind == "write" and a.instruction < reads[0]]
        return Transfer(stay.value, max([cut, *(w + 1 for w in written)]), reads[0])

    def _split_evictions(self, stay: Residency, cut: int, is_read: bool) -> None:
        """Splits the evictions of a stay that is cut; a dirty value is evicted before the cut."""
        value = stay.value
        mine = [e for e in self.evictions if e.value == value and stay.start < e.start <= stay.end]
        written = self._last_write(stay, cut)
        again = [a.instruction for a in self._touched(value, cut, stay.end) if a.kind == "write"]
        kept = [e for e in mine if e.end <= cut or (is_read and again and e.start > again[0])]
        self.evictions = [e for e in self.evictions if e not in mine] + kept
        done = any(written < e.start and e.end <= cut for e in kept)
        if written >= 0 and not done and (is_read or self._is_needed(value, cut)):
            self.evictions.append(Transfer(value, written + 1, cut))


def _one_segment(program: Program, mapping: Mapping, notes: list[str]) -> Mapping:
    """Puts every copy's window into one segment, the one with which the program is fastest."""
    segment = Levels(program).segment
    for copy in mapping.prefetches:
        if segment[copy.start] != segment[copy.end]:
            choices = _prefetch_choices(copy, segment)
            mapping = _best(program, mapping, [_with_prefetch(mapping, copy, c) for c in choices])
            notes.append(_across(program, copy, "prefetch"))
    for copy in mapping.evictions:
        if segment[copy.start - 1] != segment[max(copy.start, copy.end) - 1]:
            choices = _eviction_choices(copy, segment)
            mapping = _best(program, mapping, [_with_eviction(mapping, copy, c) for c in choices])
            notes.append(_across(program, copy, "eviction"))
    return mapping


def _across(program: Program, copy: Transfer, what: str) -> str:
    name = program.values[copy.value].name
    return f"{name}: its {what} [{copy.start}, {copy.end}) is on one side of a loop's boundary here"


def _last_of_segment(segment: Sequence[int], slot: int) -> int:
    behind = (t for t in range(slot, len(segment)) if segment[t] != segment[slot])
    return next(behind, len(segment)) - 1


def _prefetch_choices(copy: Transfer, segment: Sequence[int]) -> list[Transfer]:
    """Choices of one segment for a prefetch.

    They end with the segment of its start, possibly starting earlier, or start in that of its end.
    """
    end = _last_of_segment(segment, copy.start)
    earliest = max(segment[copy.start], copy.start - EARLIEST)
    starts = range(copy.start, earliest - 1, -1)
    return [
        *(Transfer(copy.value, start, end) for start in starts),
        Transfer(copy.value, segment[copy.end], copy.end),
    ]


def _eviction_choices(copy: Transfer, segment: Sequence[int]) -> list[Transfer]:
    """Choices of one segment for an eviction.

    They end with the segment that it follows, or start in the segment of its end.
    """
    last = _last_of_segment(segment, copy.start - 1) + 1
    first = segment[copy.end - 1] + 1
    return [Transfer(copy.value, copy.start, last), Transfer(copy.value, first, copy.end)]


def _with_prefetch(mapping: Mapping, old: Transfer, new: Transfer) -> Mapping:
    stays = [
        dataclasses.replace(s, start=new.start)
        if (s.value, s.start, s.arrival) == (old.value, old.start, COPIED)
        else s
        for s in mapping.residencies
    ]
    copies = [new if t == old else t for t in mapping.prefetches]
    return dataclasses.replace(
        mapping,
        residencies=tuple(sorted(stays, key=lambda r: (r.start, r.offset, r.value))),
        prefetches=tuple(sorted(copies, key=lambda t: (t.end, t.value))),
    )


def _with_eviction(mapping: Mapping, old: Transfer, new: Transfer) -> Mapping:
    copies = [new if t == old else t for t in mapping.evictions]
    return dataclasses.replace(
        mapping, evictions=tuple(sorted(copies, key=lambda t: (t.end, t.value)))
    )


def _best(program: Program, mapping: Mapping, choices: Sequence[Mapping]) -> Mapping:
    """The choice that breaks the fewest rules; of these the fastest, then the first."""
    return min(
        choices,
        key=lambda choice: (len(verify(program, choice)), simulate(program, choice).latency_s),
    )
