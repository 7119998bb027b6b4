"""Machines of Stream: YAML of cores, and of the links between them."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import yaml

from gamekit.errors import InputError
from gamekit.files import read_text
from gamekit.jsonfile import Record, short

# The ways to unroll loops on an array grow fast with its axes.
MOST_AXES = 4


@dataclasses.dataclass(frozen=True)
class Core:
    """axes: sizes of its array. mac_energy: of one operation. bits: of its largest memory.

    read, write: energy of a bit. port: bits a cycle. kinds: operators that it is there for; empty
    for those that no other core is there for.
    """

    name: str
    axes: tuple[int, ...]
    mac_energy: float
    bits: int
    read: float
    write: float
    port: float
    kinds: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Link:
    """cores: that it joins; every pair in both directions. bandwidth: bits a cycle. energy: of a
    bit."""

    name: str
    cores: tuple[int, ...]
    bandwidth: float
    energy: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """external: the number of the core that stands before external memory."""

    name: str
    cores: tuple[Core, ...]
    links: tuple[Link, ...]
    external: int


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
      InputError: it is missing or no YAML.
    """
    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: must be valid YAML, got: {error}") from None


def _object(path: Path) -> Record:
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a mapping, got {short(data)}")
    return Record({str(key): value for key, value in data.items()}, str(path))


def positive(record: Record, key: str, default: float | None = None) -> float:
    """A number above 0."""
    number = record.number(key) if default is None else record.number(key, default)
    if not 0 < number < 1e15:
        raise record.error(key, f"must be positive, got {number}")
    return number


def load_machine(path: Path) -> Machine:
    """Reads a machine and the files of its cores, which lie beside it or in its folder `cores`.

    Raises:
      InputError: a file is missing or unusable; the message names it, the field and the value.
    """
    record = _object(path)
    names = record.any("cores")
    files = list(names.values()) if isinstance(names, dict) else names
    numbers = list(names) if isinstance(names, dict) else None
    if not isinstance(files, list) or not files or not all(isinstance(f, str) for f in files):
        raise record.error("cores", f"must be files of cores, got {short(names)}")
    if numbers is not None and numbers != list(range(len(files))):
        raise record.error("cores", f"must be numbered from 0 on, got {short(numbers)}")
    external = record.integer("offchip_core_id")
    if not 0 <= external < len(files):
        raise record.error("offchip_core_id", f"must be below {len(files)}, got {external}")
    cores = tuple(_core(_found(path, name), i) for i, name in enumerate(files))
    energy = record.number("unit_energy_cost", 0.0)
    links = []
    for i, link in enumerate(record.records("core_connectivity")):
        ends = link.integers("cores")
        if (
            len(ends) < 2
            or not all(0 <= c < len(cores) for c in ends)
            or len(set(ends)) < len(ends)
        ):
            raise link.error("cores", f"must be different cores below {len(cores)}, got {ends}")
        name = f"{link.string('type', 'link')} {i}: {' '.join(map(str, ends))}"
        price = link.number("unit_energy_cost", energy)
        if price < 0:
            raise link.error("unit_energy_cost", f"must be at least 0, got {price}")
        links.append(Link(name, ends, positive(link, "bandwidth"), price))
    return Machine(record.string("name", path.stem), cores, tuple(links), external)


def _found(machine: Path, name: str) -> Path:
    with contextlib.suppress(OSError):  # a name that is too long
        for folder in (machine.parent, machine.parent / "cores"):
            for file in (folder / name, folder / Path(name).name):
                if file.is_file():
                    return file
    raise InputError(f"{machine}: cores: must be files, got {name!r}")


def _core(path: Path, number: int) -> Core:
    record = _object(path)
    memories = record.record("memories")
    every = [memories.record(name) for name in memories.fields()]
    if not every:
        raise record.error("memories", "must have at least one memory")
    largest = max(every, key=lambda r: r.integer("size"))
    port = max((positive(r, "bandwidth_max") for r in largest.records("ports")), default=1.0)
    array = record.record("operational_array")
    axes = array.integers("sizes")
    if not 1 <= len(axes) <= MOST_AXES:
        raise array.error("sizes", f"must be 1..{MOST_AXES} axes, got {len(axes)}")
    kinds = record.strings("operator_types") if "operator_types" in record.fields() else ()
    bits = largest.integer("size")
    read, write, mac = (
        r.number(key)
        for r, key in ((largest, "r_cost"), (largest, "w_cost"), (array, "unit_energy"))
    )
    if bits < 0 or min(read, write, mac) < 0:
        raise record.error("memories", "sizes and costs must be at least 0")
    return Core(
        f"{record.string('name', path.stem)} {number}",
        tuple(max(n, 1) for n in axes),
        mac,
        bits,
        read / port,
        write / port,
        port,
        frozenset(kinds),
    )
