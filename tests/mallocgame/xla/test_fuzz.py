"""Whatever a dump's files hold, import succeeds or fails with one line that names a file."""

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamekit.errors import InputError
from mallocgame.program import validate
from mallocgame.program.machine import machine_by_name
from mallocgame.xla.make.importer import import_dump
from tests.support.xla_sample import files, write_dump

TEXTS = files()
NAMES = sorted(TEXTS)
# fmt: off
TOKENS = (
    "", "0", "-1", "7", "999999999999", "x", ",", ";", '"', "{", "}", "(", ")", "%", "S(3)", "\n",
    "\x00", "é", "%a", "%loop", "parameter(0)", "index=9", "while", "tuple", "constant(0)",
    "f32[256,128]", "T(8,128)", "copy-start", "nan",
)
# fmt: on


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, str]:
    """A file's name and its text with one to three edits."""
    name = draw(st.sampled_from(NAMES))
    lines = TEXTS[name].splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(lines) - 1, 0)))
        edit = draw(st.sampled_from(["drop", "repeat", "swap", "cut", "token", "word"]))
        if not lines:
            break
        line = lines[at]
        if edit == "drop":
            del lines[at]
        elif edit == "repeat":
            lines.insert(at, line)
        elif edit == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], line
        elif edit == "cut":
            del lines[at + 1 :]
            lines[at] = line[: draw(st.integers(0, len(line)))]
        elif edit == "token":
            column = draw(st.integers(0, len(line)))
            end = draw(st.integers(column, min(len(line), column + 6)))
            lines[at] = line[:column] + draw(st.sampled_from(TOKENS)) + line[end:]
        else:
            words = line.split(" ")
            donor = draw(st.sampled_from(lines)).split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(donor))
            lines[at] = " ".join(words)
    return name, "".join(lines)


def check(folder: Path) -> None:
    try:
        imported = import_dump(folder, machine_by_name("tpu_v4"))
    except InputError as error:
        assert "\n" not in str(error)
        assert str(folder) in str(error)
    else:
        for item in imported.items:
            validate(item.program)


SLOW_DISK = [HealthCheck.too_slow]


@settings(max_examples=250, deadline=None, suppress_health_check=SLOW_DISK)
@given(damaged())
def test_damaged_text(edit: tuple[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(write_dump(Path(folder) / "sample", {**TEXTS, edit[0]: edit[1]}))


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW_DISK)
@given(st.sampled_from(NAMES), st.integers(0, 2000), st.binary(max_size=8), st.booleans())
def test_damaged_bytes(name: str, at: int, junk: bytes, truncate: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dump = write_dump(Path(folder) / "sample")
        raw = (dump / name).read_bytes()
        at %= len(raw)
        (dump / name).write_bytes(raw[:at] + junk + (b"" if truncate else raw[at + len(junk) :]))
        check(dump)


def test_repeated_rows_change_nothing(tmp_path: Path) -> None:
    texts = dict(TEXTS)
    for name in ("bufferinfo.csv", "allocinfo.csv"):
        header, *rows = texts[name].splitlines(keepends=True)
        texts[name] = header + "".join(rows * 2)
    machine = machine_by_name("tpu_v4")
    once = import_dump(write_dump(tmp_path / "a" / "sample"), machine)
    twice = import_dump(write_dump(tmp_path / "b" / "sample", texts), machine)
    assert once.items == twice.items


A = "f32[256,128]{1,0:T(8,128)}"
CYCLES = 'backend_config={"window_config":{"estimated_cycles":"100"}}'
ODD = {
    "thousands of constants": [f"%k.{n} = s32[] constant({n})" for n in range(5000)],
    "an opcode from the future": [f"%new = {A} frobnicate(%x, %w), kind=7, {CYCLES}"],
    "tokens": ["%tok = token[] after-all()", f"%fed = ({A}, token[]) infeed(%tok), {CYCLES}"],
    "tuples in tuples": [
        f"%p = ({A}, {A}) tuple(%x, %w)",
        f"%q = (({A}, {A}), {A}) tuple(%p, %x)",
        f"%r = ({A}, {A}) get-tuple-element(%q), index=0",
        f"%s = {A} get-tuple-element(%r), index=1",
        f"%t.9 = {A} fusion(%s), kind=kLoop, calls=%double, {CYCLES}",
    ],
    "a bounded dynamic shape": [
        "%d = f32[<=256,128]{1,0:T(8,128)} set-dimension-size(%x, %one.9), dimensions={0}"
    ],
    "nothing in an array": [f"%e = f32[0,128]{{1,0:T(8,128)}} slice(%x), {CYCLES}"],
    "an instruction without operands": [f"%rng = {A} rng-bit-generator(), {CYCLES}"],
}


@pytest.mark.parametrize("what", ODD)
def test_odd_but_correct_dumps(what: str, tmp_path: Path) -> None:
    """What stands before the end of the module is imported or ignored; the rest is as it was."""
    lines = ["%one.9 = s32[] constant(1)", *ODD[what]]
    names = [line.split()[0][1:] for line in lines]
    texts = dict(TEXTS)
    for name in ("msa_off.hlo.gz", "msa_on.hlo.gz"):
        before, root, after = texts[name].rpartition("  ROOT %result")
        texts[name] = before + "".join(f"  {line}\n" for line in lines) + root + after
    rows = texts["scheduleinfo.csv"].replace("27,result\n", "")
    rows += "".join(f"{27 + i},{n}\n" for i, n in enumerate([*names, "result"]))
    texts["scheduleinfo.csv"] = rows
    machine = machine_by_name("tpu_v4")
    plain = import_dump(write_dump(tmp_path / "a" / "sample"), machine).items[0]
    odd = import_dump(write_dump(tmp_path / "b" / "sample", texts), machine).items[0]
    validate(odd.program)
    assert odd.program.instructions[: len(plain.program.instructions)] == (
        plain.program.instructions
    )
    assert {r.offset for r in odd.mapping.residencies} >= {
        r.offset for r in plain.mapping.residencies
    }


def test_provenance_is_an_object(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "sample")
    for text in ("[1]", "{", "\xff"):
        (dump / "provenance.json").write_text(text)
        with pytest.raises(InputError, match=r"provenance\.json"):
            import_dump(dump, machine_by_name("tpu_v4"))


def test_gzip_of_no_text(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "sample")
    (dump / "msa_on.hlo.gz").write_bytes(gzip.compress(b"\xff\xfe\x00"))
    check(dump)
