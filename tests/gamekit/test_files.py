"""Files are read to a limit and written as a whole; a lock has one holder."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc

import pytest

from gamekit import files, jsonfile
from gamekit.errors import InputError
from gamekit.files import locked, read_bytes, read_text, write_bytes
from gamekit.jsonfile import Record, parse_json, read_json


def peak(call) -> int:
    """The most bytes that a call takes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path, message: str, limit: int = files.MAX_BYTES) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_bytes(path, limit)
    assert str(caught.value).startswith(str(path))


def test_what_unpacks_to_gigabytes_takes_the_limit_at_most(tmp_path):
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    assert path.stat().st_size < 100_000
    limit = 1 << 20
    took = peak(lambda: refused(path, "must unpack to at most 1 MiB, got more", limit))
    assert took < 4 * limit
    path.write_bytes(gzip.compress(bytes(limit)))
    assert len(read_bytes(path, limit)) == limit  # the limit itself may be


def test_a_large_file_takes_the_limit_at_most(tmp_path):
    path = tmp_path / "large.json"
    path.touch()
    os.truncate(path, 64 << 20)
    took = peak(lambda: refused(path, "must hold at most 1 MiB, got more", 1 << 20))
    assert took < 4 << 20
    refused("/dev/zero", "must hold at most 1 MiB", 1 << 20)


def test_small_text_of_large_objects_is_refused_before_they_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonfile, "MAX_ITEMS", 10_000)
    for piece in (b"[],", b"0,", b'{"":[{}]},'):
        text = b"[" + piece * 200_000 + b"0]"
        path = tmp_path / "many.json.gz"
        path.write_bytes(gzip.compress(text))

        def read(path=path):
            with pytest.raises(InputError, match=r"many\.json\.gz: .* more than 10,000 items"):
                read_json(path, "f", 1)

        assert peak(read) < 4 * len(text) + 2 * files.CHUNK
    assert parse_json(b"[" + b"0," * 4_999 + b"0]") == [0] * 5_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ("[" * 100_000 + "]" * 100_000, "nested too deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
        ("1" * 10_000, "digits"),
        ("", "Expecting"),
        ("\0", "Expecting"),
        ('"a', "Unterminated"),
    ],
)
def test_json_is_strict(text, said):
    with pytest.raises(ValueError, match=said):
        parse_json(text.encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400])
def test_numbers_are_finite(number):
    record = Record(parse_json(f'{{"a": [], "x": {number}}}'.encode()), "file.json")
    with pytest.raises(InputError, match=r"file\.json: x: must "):
        record.number("x")
    with pytest.raises(InputError, match=r"file\.json: x: must be an integer"):
        record.integer("x")


def test_json_that_is_well():
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 1.5e300, "\\ud83d\\ude00", null]}') == {
        "a": [1, 1.5e300, "\U0001f600", None]
    }
    for text in (b"\xff", b'["\xed\xa0\x80"]'):
        with pytest.raises(ValueError):
            parse_json(text)


def test_other_text_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfid")
    assert read_text(path) == "id"
    path.write_bytes(b"\xca\xfe")
    with pytest.raises(InputError, match=r"x\.csv: must be UTF-8 text"):
        read_text(path)
    for name in ("a\0b", "x" * 5_000, tmp_path):
        with pytest.raises(InputError):
            read_text(name)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "x"
    write_bytes(path, b"old")
    code = (
        "import resource, sys; from gamekit.files import write_bytes\n"
        "from gamekit.errors import InputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(sys.argv[1], bytes(2000))\n"
        "except InputError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert ran.stdout == f"{path}: cannot be written: File too large\n" and not ran.stderr
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / "x", b"old")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "x", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x", b"old")]


def test_a_lock_has_one_holder_and_leaves_no_file(tmp_path):
    path = tmp_path / ".lock"
    path.write_text("left by a process that was killed")
    with locked(path, "busy: it"):
        with (
            pytest.raises(InputError, match="busy: it"),
            locked(path, "busy: it"),
        ):
            raise AssertionError
        assert path.exists()
    assert not path.exists()
    with locked(path, "busy"):
        pass
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / "no" / "l"):
        raise AssertionError


def test_those_who_wait_for_a_lock_get_it_one_by_one(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from gamekit.files import locked\n"
        "count = Path(sys.argv[1], 'count')\n"
        "for _ in range(50):\n"
        "    with locked(Path(sys.argv[1], '.lock')):\n"
        "        n = int(count.read_text()); time.sleep(0.0002); count.write_text(str(n + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    ran = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in ran] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "150"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]
