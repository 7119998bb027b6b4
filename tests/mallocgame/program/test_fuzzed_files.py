"""Random damage to program and mapping files: a valid result or one located line, never a crash."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekit.errors import InputError
from mallocgame.program import Program, load_program, validate
from mallocgame.program.mapping import load_mapping
from tests.support.program_files import mapping_record, put, record_of

PLAIN = json.dumps(record_of()).encode()
PACKED = gzip.compress(PLAIN)
MAPPING_PLAIN = json.dumps(mapping_record()).encode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([-1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**63, 1e300, "read", "write"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "value", "entry", "kind"]), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


def load_or_complain(path: Path, content: bytes, load) -> None:
    """Either a valid program or mapping, or one located line: nothing else."""
    path.write_bytes(content)
    try:
        thing = load(path)
    except InputError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    if isinstance(thing, Program):
        validate(thing)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_fuzzed_bytes(folder, data):
    name, content, load = data.draw(
        st.sampled_from(
            [
                ("p.json", PLAIN, load_program),
                ("p.json.gz", PACKED, load_program),
                ("m.json", MAPPING_PLAIN, load_mapping),
            ]
        )
    )
    garbled = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        garbled[data.draw(st.integers(0, len(garbled) - 1))] = data.draw(st.integers(0, 255))
    load_or_complain(
        folder / name, bytes(garbled[: data.draw(st.integers(0, len(garbled) + 50))]), load
    )


def places(thing, prefix=()) -> list[tuple]:
    """The paths to everything in a JSON value."""
    items = (
        thing.items()
        if isinstance(thing, dict)
        else enumerate(thing)
        if isinstance(thing, list)
        else ()
    )
    found = [prefix] if prefix else []
    for key, value in items:
        found += places(value, (*prefix, key))
    return found


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_fuzzed_json(folder, data):
    name, load, record = data.draw(
        st.sampled_from(
            [
                ("p.json", load_program, json.loads(PLAIN)),
                ("m.json", load_mapping, mapping_record()),
            ]
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        record = put(record, data.draw(st.sampled_from(places(record))), data.draw(JSON))
    load_or_complain(folder / name, json.dumps(record).encode(), load)
