"""Residencies as minimalloc's CSV, there and back, and the packers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from gamekit.errors import InputError
from mallocgame.game.options import GameConfig
from mallocgame.judge import verify
from mallocgame.judge.minimalloc import (
    PACKERS,
    Buffer,
    Gap,
    buffers_of,
    height,
    live_bytes,
    pack,
    read_csv,
    repacked,
    to_csv,
    write_csv,
)
from mallocgame.mappers.layouts.local_search import local_search
from mallocgame.synthetic.random_programs import random_program

# Five buffers as in minimalloc's README; three of them are alive at a time.
EXAMPLE = """id,lower,upper,size
b1,0,3,4
b2,3,9,4
b3,0,9,4
b4,9,21,4
b5,0,21,4
"""


def test_a_file_there_and_back(tmp_path):
    path = tmp_path / "problem.csv"
    path.write_text(EXAMPLE)
    buffers = read_csv(path)
    assert buffers[1] == Buffer("b2", 3, 9, 4)
    assert to_csv(buffers) == EXAMPLE
    assert live_bytes(buffers) == 12
    assert height(pack(buffers, "best_fit")) == 12
    answer = [dataclasses.replace(b, offset=4 * i) for i, b in enumerate(buffers)]
    write_csv(answer, tmp_path / "answer.csv", offsets=True)
    assert read_csv(tmp_path / "answer.csv") == answer
    assert (tmp_path / "answer.csv").read_text().splitlines()[1] == "b1,0,3,4,0"


def test_what_other_tools_write_is_read(tmp_path):
    path = tmp_path / "problem.csv"
    text = "id,lower,upper,size,alignment,gaps\r\nb1,0,3,4,1,\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_csv(path) == [Buffer("b1", 0, 3, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a header line, got an empty file"),
        ("id,lower,upper\nb,0,1\n", "line 1: must have the column size, got id, lower, upper"),
        ("id,lower,upper,size\nb,0,x,1\n", "line 2: upper: must be an integer, got 'x'"),
        ("id,lower,upper,size\nb,0,1\n", "line 2: must have 4 cells, got 3"),
        ("id,lower,upper,size\nb,0,1_0,1\n", "line 2: upper: must be an integer, got '1_0'"),
        (
            f"id,lower,upper,size\nb,0,{'9' * 5000},1\n",
            f"line 2: upper: must be an integer, got '{'9' * 56}...",
        ),
        (
            "id,lower,upper,size,alignment\nb,0,3,5,0\n",
            "line 2: alignment: must be at least 1, got 0",
        ),
        (
            "id,lower,upper,size,gaps\nb,0,9,4,3-5@0:5\n",
            "line 2: gaps: a window must be bytes of [0, 4), got '3-5@0:5'",
        ),
        (
            "id,lower,upper,size,gaps\nb,0,9,4,3-5@2\n",
            "line 2: gaps: must be gaps such as 3-5 6-7@0:16, got '3-5@2'",
        ),
        (
            "id,lower,upper,size,gaps\nb,0,9,4,3-x\n",
            "line 2: gaps: must be an integer, got 'x'",
        ),
        *(
            (
                f"id,lower,upper,size,gaps\nb,1,9,4,{gaps}\n",
                f"line 2: gaps: must rise, and lie apart in [1, 9), got {wrong!r}",
            )
            for gaps, wrong in (
                ("0-2", "0-2"),
                ("3-3", "3-3"),
                ("8-10", "8-10"),
                ("3-5 4-6", "4-6"),
            )
        ),
        (
            "id,lower,upper,size,size\nb,0,9,4,4\n",
            "line 1: must have of id, lower, upper, size, offset, alignment, gaps each once, "
            "got 'size'",
        ),
        (
            "id,lower,upper,size\nb,3,3,1\n",
            "line 2: must have 0 <= lower < upper, size >= 0 and offset >= -1, got 3, 3, 1 and -1",
        ),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_csv(path)
    assert str(error.value) == f"{path}: {message}"
    with pytest.raises(InputError, match="nowhere"):
        read_csv(tmp_path / "nowhere.csv")


def _overlaps(buffers: list[Buffer]) -> bool:
    return any(
        _slots(a) & _slots(b)
        and a.offset < b.offset + b.size and b.offset < a.offset + a.size
        for a, b in itertools.combinations(buffers, 2)
    )  # fmt: skip


def _slots(buffer: Buffer) -> set[int]:
    free = {t for gap in buffer.gaps for t in range(gap.lower, gap.upper)}
    return set(range(buffer.lower, buffer.upper)) - free


def test_alignment_and_gaps_there_and_back(tmp_path):
    path = tmp_path / "problem.csv"
    text = "id,lower,upper,size,alignment,gaps\na,0,9,4,8,3-5 6-7\nb,3,5,4,1,\n"
    path.write_text(text)
    first, second = read_csv(path)
    assert first == Buffer("a", 0, 9, 4, alignment=8, gaps=(Gap(3, 5), Gap(6, 7)))
    assert first.intervals == [(0, 3), (5, 6), (7, 9)] and second.intervals == [(3, 5)]
    assert to_csv([first, second]) == text
    assert live_bytes([first, second]) == 4
    assert height(pack([first, second], "best_fit")) == 4


def test_a_window_keeps_bytes_taken_in_a_gap(tmp_path):
    """a keeps bytes 4 to 5 meanwhile; b would find room below them, where it is not put."""
    path = tmp_path / "problem.csv"
    text = "id,lower,upper,size,gaps\na,0,9,6,3-5@4:6 6-7\nb,3,5,4,\nc,6,7,6,\n"
    path.write_text(text)
    a, b, c = read_csv(path)
    assert a.gaps == (Gap(3, 5, (4, 6)), Gap(6, 7)) and to_csv([a, b, c]) == text
    assert a.intervals == [(0, 6), (7, 9)]
    assert live_bytes([a, b, c]) == 6  # 2 + 4 in the window's gap
    placed = pack([a, b, c], "best_fit")
    assert [x.offset for x in placed] == [0, 6, 0]


@pytest.mark.parametrize("order", ["start", "area"])
@pytest.mark.parametrize("packer", PACKERS)
def test_packings_are_legal_and_no_lower_than_what_is_alive(packer, order):
    rng = np.random.default_rng(0)
    for _ in range(40):
        lower = rng.integers(0, 20, 15)
        buffers = [
            Buffer(
                str(i), t, t + int(rng.integers(4, 9)), int(rng.integers(0, 30)),
                alignment=int(rng.choice([1, 1, 4, 6])),
                gaps=(Gap(t + 1, t + 3),) if rng.random() < 0.3 else (),
            )
            for i, t in enumerate(lower.tolist())
        ]  # fmt: skip
        alive = max(sum(b.size for b in buffers if t in _slots(b)) for t in range(30))
        assert live_bytes(buffers) == alive
        packed = pack(buffers, packer, order)
        assert [dataclasses.replace(b, offset=-1) for b in packed] == buffers
        assert not _overlaps(packed)
        assert all(b.offset % b.alignment == 0 for b in packed)
        assert height(packed) >= alive


def test_best_fit_and_first_fit_differ_where_they_should():
    standing = [
        Buffer("a", 0, 2, 10),
        Buffer("b", 0, 9, 5),
        Buffer("c", 0, 2, 4),
        Buffer("d", 0, 9, 1),
    ]
    new = Buffer("e", 3, 9, 4)
    assert pack([*standing, new], "first_fit")[-1].offset == 0
    assert pack([*standing, new], "best_fit")[-1].offset == 15
    with pytest.raises(ValueError, match=r"packer: must be .*, got 'tetris'"):
        pack([], "tetris")


def test_a_mapping_packed_anew_is_legal_where_it_fits():
    fitted = 0
    for seed in range(30):
        program = random_program(np.random.default_rng([5, seed]), loop_depth=0)
        if any(i.reserved_bytes for i in program.instructions):
            continue
        mapping = local_search(program, GameConfig(), 0.05, 0).mapping
        buffers = buffers_of(program, mapping)
        assert live_bytes(buffers) <= program.machine.fast_capacity_bytes
        assert not _overlaps(buffers)
        packed = pack(buffers, "best_fit", "area")
        if height(packed) <= program.machine.fast_capacity_bytes:
            fitted += bool(buffers)
            assert verify(program, repacked(program, mapping, packed)) == []
        else:
            with pytest.raises(InputError, match="breaks a rule"):
                repacked(program, mapping, packed)
        if buffers:
            with pytest.raises(InputError, match="got other buffers"):
                repacked(program, mapping, packed[1:])
    assert fitted >= 5


def test_groups_share_their_place():
    """Where a result takes over its parameter's place, the two buffers do not overlap."""
    handed = 0
    for seed in range(60):
        program = random_program(np.random.default_rng([6, seed]))
        mapping = local_search(program, GameConfig(), 0.03, 0).mapping
        buffers = buffers_of(program, mapping)
        assert not _overlaps(buffers)
        handed += sum(b.upper != r.end for b, r in zip(buffers, mapping.residencies, strict=True))
    assert handed > 0
