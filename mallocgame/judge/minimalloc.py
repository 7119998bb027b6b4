"""A mapping's residencies as a packing problem, in minimalloc's CSV files, and packers for it.

A buffer is a size over an interval of slots; a packer gives it an offset.  The columns are those of
github.com/google/minimalloc: `id,lower,upper,size`, where it is wanted `alignment` and `gaps`, and,
in an answer, `offset`, with half-open intervals [lower, upper).  A residency is one buffer.  A
carried group that is held over its loop is two, parameter and result, which must get the same
offset; a general packer does not know that, so `repacked` checks it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gamekit.errors import InputError
from gamekit.files import read_text, write_text
from gamekit.jsonfile import MAX_INTEGER, short
from mallocgame.judge import verify
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping

COLUMNS = ("id", "lower", "upper", "size")
OPTIONAL = ("offset", "alignment", "gaps")
PACKERS = ("first_fit", "best_fit")


class Gap(NamedTuple):
    """Slots [lower, upper) in which a buffer's bytes are free.

    window: the bytes of it, [first, end), that stay taken meanwhile; None if all are free.
    """

    lower: int
    upper: int
    window: tuple[int, int] | None = None

    def __str__(self) -> str:
        window = "" if self.window is None else "@{}:{}".format(*self.window)
        return f"{self.lower}-{self.upper}{window}"


@dataclasses.dataclass(frozen=True)
class Buffer:
    """`size` bytes over the slots [lower, upper).

    offset: a multiple of `alignment`, -1 until the buffer is packed.
    gaps: in [lower, upper), rising and apart.
    """

    id: str
    lower: int
    upper: int
    size: int
    offset: int = -1
    alignment: int = 1
    gaps: tuple[Gap, ...] = ()

    @property
    def intervals(self) -> list[tuple[int, int]]:
        """The slots in which bytes are taken, as half-open intervals.

        Packers here know no windows: through a gap with a window they keep all bytes, which is
        right, but may take more room than is needed.
        """
        free = [gap for gap in self.gaps if gap.window is None]
        bounds = [self.lower, *(b for gap in free for b in (gap.lower, gap.upper)), self.upper]
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        return [(lower, upper) for lower, upper in pairs if lower < upper]


def buffers_of(program: Program, mapping: Mapping) -> list[Buffer]:
    """The residencies of a mapping, in its order, with sizes rounded up to the alignment.

    Ids are "NUMBER:VALUE'S NAME".  A group's result begins at its definition, which is the last use
    of the parameter.  Both are in one place in that slot, so the parameter ends one earlier here.
    """
    results = {g.parameter: g.result for g in program.carried}
    starts = {(r.value, r.start, r.offset) for r in mapping.residencies}
    buffers = []
    for number, r in enumerate(mapping.residencies):
        value = program.values[r.value]
        size = program.machine.align(value.size_bytes)
        handed = (results.get(r.value), r.end - 1, r.offset) in starts
        upper = r.end - 1 if handed else r.end
        buffers.append(Buffer(f"{number}:{value.name}", r.start, upper, size, r.offset))
    return buffers


def write_csv(buffers: Sequence[Buffer], path: str | Path, offsets: bool = False) -> None:
    """Writes minimalloc's problem file or, with `offsets`, its answer file."""
    write_text(path, to_csv(buffers, offsets))


def to_csv(buffers: Sequence[Buffer], offsets: bool = False) -> str:
    """The text of `write_csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [*COLUMNS]
    columns += ["alignment"] if any(b.alignment != 1 for b in buffers) else []
    columns += ["gaps"] if any(b.gaps for b in buffers) else []
    columns += ["offset"] if offsets else []
    writer.writerow(columns)
    for b in buffers:
        gaps = " ".join(map(str, b.gaps))
        writer.writerow([gaps if name == "gaps" else getattr(b, name) for name in columns])
    return text.getvalue()


def read_csv(path: str | Path) -> list[Buffer]:
    """Reads a problem or an answer; the order of columns does not matter.

    A gap is LOWER-UPPER or, with a window, LOWER-UPPER@FIRST:END.

    Raises:
      InputError: names the file, the line and the offending value.
    """
    text = read_text(path)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: {error}") from None
    if not rows:
        raise InputError(f"{path}: must have a header line, got an empty file")
    header = [name.strip() for name in rows[0]]
    for name in COLUMNS:
        if name not in header:
            raise InputError(
                f"{path}: line 1: must have the column {name}, got {', '.join(header)}"
            )
    for name in header:
        if name not in (*COLUMNS, *OPTIONAL) or header.count(name) > 1:
            known = ", ".join((*COLUMNS, *OPTIONAL))
            raise InputError(f"{path}: line 1: must have of {known} each once, got {short(name)}")
    return [
        _buffer(header, row, f"{path}: line {number}")
        for number, row in enumerate(rows[1:], 2)
        if row
    ]


def _buffer(header: Sequence[str], cells: Sequence[str], where: str) -> Buffer:
    if len(cells) != len(header):
        raise InputError(f"{where}: must have {len(header)} cells, got {len(cells)}")
    row = dict(zip(header, cells, strict=True))
    lower, upper, size = (_integer(row[name], f"{where}: {name}") for name in COLUMNS[1:])
    offset = _integer(row.get("offset", "-1"), f"{where}: offset")
    alignment = _integer(row.get("alignment", "").strip() or "1", f"{where}: alignment")
    if alignment < 1:
        raise InputError(f"{where}: alignment: must be at least 1, got {alignment}")
    if not (0 <= lower < upper and size >= 0 and offset >= -1):
        raise InputError(
            f"{where}: must have 0 <= lower < upper, size >= 0 and offset >= -1, "
            f"got {lower}, {upper}, {size} and {offset}"
        )
    gaps = _gaps(row.get("gaps", ""), lower, upper, size, f"{where}: gaps")
    return Buffer(row["id"], lower, upper, size, offset, alignment, gaps)


def _gaps(text: str, lower: int, upper: int, size: int, where: str) -> tuple[Gap, ...]:
    """Gaps such as `3-5 6-7@0:16`."""
    gaps: list[Gap] = []
    last = lower
    for word in text.split():
        slots, at, window = word.partition("@")
        gap = Gap(*_pair(slots, "-", word, where))
        if not last <= gap.lower < gap.upper <= upper:
            raise InputError(
                f"{where}: must rise, and lie apart in [{lower}, {upper}), got {short(word)}"
            )
        if at:
            taken = _pair(window, ":", word, where)
            if not 0 <= taken[0] < taken[1] <= size:
                raise InputError(
                    f"{where}: a window must be bytes of [0, {size}), got {short(word)}"
                )
            gap = gap._replace(window=taken)
        gaps.append(gap)
        last = gap.upper
    return tuple(gaps)


def _pair(text: str, mark: str, word: str, where: str) -> tuple[int, int]:
    """The two numbers around a mark."""
    first, found, second = text.partition(mark)
    if not found:
        raise InputError(f"{where}: must be gaps such as 3-5 6-7@0:16, got {short(word)}")
    return _integer(first, where), _integer(second, where)


def _integer(text: str, where: str) -> int:
    """A number of 64 bits, as minimalloc reads it."""
    if not re.fullmatch(r"\s*[-+]?[0-9]{1,19}\s*", text, re.ASCII) or abs(int(text)) > MAX_INTEGER:
        raise InputError(f"{where}: must be an integer, got {short(text)}")
    return int(text)


def live_bytes(buffers: Sequence[Buffer]) -> int:
    """The most bytes alive at any time; no packing needs less."""
    change: dict[int, int] = {}
    for b in buffers:
        spans = [(b.lower, b.upper, b.size)]
        for gap in b.gaps:
            first, end = gap.window or (0, 0)
            spans.append((gap.lower, gap.upper, end - first - b.size))
        for lower, upper, size in spans:
            change[lower] = change.get(lower, 0) + size
            change[upper] = change.get(upper, 0) - size
    most = now = 0
    for slot in sorted(change):
        now += change[slot]
        most = max(most, now)
    return most


def height(buffers: Sequence[Buffer]) -> int:
    """The bytes that a packing needs."""
    return max((b.offset + b.size for b in buffers), default=0)


def pack(buffers: Sequence[Buffer], packer: str, order: str = "start") -> list[Buffer]:
    """Packs buffers one by one into unlimited memory; returns them in the order given.

    Args:
      packer: "first_fit" takes the lowest gap, "best_fit" the smallest, the open end last.
      order: "start" packs in the order in which a game meets them, "area" by bytes times slots,
        largest first.

    Raises:
      ValueError: unknown packer or order.
    """
    if packer not in PACKERS:
        raise ValueError(f"packer: must be one of {', '.join(PACKERS)}, got {packer!r}")
    keys = {
        "start": lambda i: (buffers[i].lower, i),
        "area": lambda i: (-(buffers[i].upper - buffers[i].lower) * buffers[i].size, i),
    }
    if order not in keys:
        raise ValueError(f"order: must be one of {', '.join(keys)}, got {order!r}")
    packed: list[Buffer | None] = [None] * len(buffers)
    done: list[Buffer] = []
    for i in sorted(range(len(buffers)), key=keys[order]):
        new = buffers[i]
        taken = sorted((b.offset, b.offset + b.size) for b in done if b.size and _meet(b, new))
        done.append(dataclasses.replace(new, offset=_place(taken, new, packer)))
        packed[i] = done[-1]
    return [b for b in packed if b is not None]


def _meet(one: Buffer, other: Buffer) -> bool:
    """Whether there is a slot in which both buffers' bytes are taken."""
    return any(a < d and c < b for a, b in one.intervals for c, d in other.intervals)


def _place(taken: list[tuple[int, int]], new: Buffer, packer: str) -> int:
    if not new.size:
        return 0
    gaps, top = [], 0
    for low, high in taken:
        if low - top >= new.size:
            gaps.append((low - top, top))
        top = max(top, -(-high // new.alignment) * new.alignment)
    if not gaps:
        return top
    return min(gaps)[1] if packer == "best_fit" else gaps[0][1]


def repacked(program: Program, mapping: Mapping, buffers: Sequence[Buffer]) -> Mapping:
    """The mapping with the offsets of a packing of its `buffers_of`, in the same order.

    Raises:
      InputError: the packing is of other buffers, or the judge rejects the result.
    """
    asked = buffers_of(program, mapping)
    if [_question(b) for b in buffers] != [_question(b) for b in asked]:
        raise InputError(
            f"packing: must be of the {len(asked)} residencies of the mapping, got other buffers"
        )
    residencies = tuple(
        dataclasses.replace(r, offset=b.offset)
        for r, b in zip(mapping.residencies, buffers, strict=True)
    )
    result = dataclasses.replace(mapping, residencies=residencies)
    before, after = verify(program, mapping), verify(program, result)
    if len(after) > len(before):
        raise InputError(f"packing: breaks a rule: {after[0].message}")
    return result


def _question(buffer: Buffer) -> tuple[str, int, int, int]:
    return (buffer.id, buffer.lower, buffer.upper, buffer.size)
