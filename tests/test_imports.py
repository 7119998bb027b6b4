"""The rules of the house: which package may import which (docs/contributing.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ("gamekit", "agent", "mallocgame", "games", "train", "evaluate", "tests", "benchmarks")

# A room, and what it may import of the house, its own included; the longest prefix counts.
MAY_IMPORT = {
    "gamekit": ("gamekit",),
    "agent": ("agent", "gamekit"),
    "train": ("agent", "gamekit"),
    "evaluate": ("agent", "gamekit"),
    "mallocgame": ("mallocgame", "gamekit"),
    # The command reaches train and evaluate, which know no particular game.
    "mallocgame.command": ("mallocgame", "agent", "gamekit"),
    "mallocgame.program": ("mallocgame.program", "gamekit"),
    # A packer knows items and bytes, not programs.
    "mallocgame.packing": ("mallocgame.packing", "gamekit"),
    "mallocgame.judge": ("mallocgame.judge", "mallocgame.program", "gamekit"),
    "mallocgame.relaxation": ("mallocgame.relaxation", "mallocgame.program", "gamekit"),
    "mallocgame.game": (
        "mallocgame.game",
        "mallocgame.program",
        "mallocgame.packing",
        "mallocgame.relaxation",
        "gamekit",
    ),
    # An oracle shares nothing with its game but the options and the data.
    "mallocgame.oracle": (
        "mallocgame.oracle",
        "mallocgame.program",
        "mallocgame.game.options",
        "gamekit",
    ),
    "mallocgame.synthetic": (
        "mallocgame.synthetic",
        "mallocgame.program",
        "mallocgame.oracle",
        "mallocgame.game.options",
        "gamekit",
    ),
    "games": ("gamekit",),
    # Neither an oracle nor a game leans on the closed form that opponents use.
    "games.graphs.closed_form": ("games.graphs.closed_form", "games.graphs.problem", "gamekit"),
    "games.graphs.synthetic": (
        "games.graphs.synthetic",
        "games.graphs.problem",
        "games.graphs.oracle",
        "gamekit",
    ),
}
# The rooms of every sibling in games/NAME/; those it does not have are of no account.  The data of
# a game are its programs, or its problems.
DATA = (".program", ".problem")
SIBLING_MAY_IMPORT = {
    "": ("",),
    **{room: (room,) for room in DATA},
    ".judge": (".judge", *DATA),
    ".game": (".game", *DATA),
    ".oracle": (".oracle", *DATA, ".game.options"),
}
MAY_IMPORT |= {
    f"games.{folder.name}{room}": (*(f"games.{folder.name}{of}" for of in allowed), "gamekit")
    for folder in sorted((ROOT / "games").glob("[!_]*/"))
    for room, allowed in SIBLING_MAY_IMPORT.items()
}
# Single files that stand above their room.
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    # The agent as a mapper of the game.
    "mallocgame.mappers.learned": ("agent",),
    # The agents that come with other games, by name on their command lines.
    "games.cores.__main__": ("games.cores", "agent"),
    "games.graphs.__main__": ("games.graphs", "agent"),
}


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the house's own code, without tests, benchmarks and examples."""
    for room in ("gamekit", "agent", "mallocgame", "games"):
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path
    for name in ("train", "evaluate"):
        yield name, root / f"{name}.py"


def imports(path: Path) -> Iterator[str]:
    """What a file imports, wherever in it and for whatever reason, type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if is_module(full) else str(node.module)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def broken_rules(root: Path) -> list[str]:
    """Imports that the rules forbid, one a line."""
    found = []
    for module, path in modules(root):
        rooms = [room for room in MAY_IMPORT if inside(module, room)]
        if not rooms:
            continue
        allowed = (*MAY_IMPORT[max(rooms, key=len)], *EXCEPTIONS.get(module, ()))
        for imported in imports(path):
            of_house = any(inside(imported, room) for room in HOUSE)
            if of_house and not any(inside(imported, room) for room in allowed):
                found.append(f"{module} imports {imported}")
    return found


def test_no_room_reaches_where_it_must_not():
    assert broken_rules(ROOT) == []


def test_siblings_do_not_import_each_other():
    games = {module.split(".")[1] for module, _ in modules(ROOT) if module.startswith("games.")}
    for module, path in modules(ROOT):
        if module.startswith("games."):
            others = games - {module.split(".")[1]}
            wrong = [i for i in imports(path) if any(inside(i, f"games.{o}") for o in others)]
            assert wrong == [], module


def test_no_test_imports_a_test():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for imported in imports(path):
            if inside(imported, "tests"):
                assert inside(imported, "tests.support"), f"{path}: {imported}"


def test_no_circle_of_modules():
    """No module is reached from what it imports when it is loaded."""
    graph = {module: set(eager_imports(path)) for module, path in modules(ROOT)}
    # A package's __init__ runs before its modules; what it re-exports is not a circle of theirs.
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"circle: {' -> '.join((*trail, module))}"
        if module in done:
            return
        for imported in graph.get(module, ()):
            visit(imported, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def eager_imports(path: Path) -> Iterator[str]:
    """The modules of the house that a file imports at its top level when it runs."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                name = full if is_module(full) else str(node.module)
                if any(inside(name, room) for room in ("gamekit", "agent", "mallocgame", "games")):
                    yield name


@pytest.mark.parametrize(
    ("module", "line", "message"),
    [
        ("gamekit/planted.py", "import agent.config", "gamekit.planted imports agent.config"),
        (
            "agent/planted.py",
            "def f():\n    from mallocgame.program import Program",
            "agent.planted imports mallocgame.program",
        ),
        (
            "mallocgame/planted.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from agent.run import loop",
            "mallocgame.planted imports agent.run.loop",
        ),
        (
            "mallocgame/oracle/planted.py",
            "from mallocgame.game.rules import advance",
            "mallocgame.oracle.planted imports mallocgame.game.rules",
        ),
        (
            "mallocgame/judge/planted.py",
            "from mallocgame.mappers.registry import MAPPERS",
            "mallocgame.judge.planted imports mallocgame.mappers.registry",
        ),
        (
            "mallocgame/game/planted.py",
            "from mallocgame import report",
            "mallocgame.game.planted imports mallocgame.report",
        ),
        (
            "games/fences/judge/planted.py",
            "from games.fences.game.rules import place",
            "games.fences.judge.planted imports games.fences.game.rules",
        ),
        (
            "games/fences/planted.py",
            "from agent.run import loop",
            "games.fences.planted imports agent.run.loop",
        ),
        (
            "mallocgame/packing/planted.py",
            "from mallocgame.program import Program",
            "mallocgame.packing.planted imports mallocgame.program",
        ),
        (
            "games/graphs/judge/planted.py",
            "from games.graphs.closed_form import Costs",
            "games.graphs.judge.planted imports games.graphs.closed_form",
        ),
        (
            "games/graphs/planted.py",
            "from mallocgame.program import Program",
            "games.graphs.planted imports mallocgame.program",
        ),
    ],
)
def test_planted_imports_are_found(tmp_path, module, line, message):
    path = tmp_path / module
    path.parent.mkdir(parents=True)
    path.write_text(f"{line}\n")
    for name in ("train", "evaluate"):
        (tmp_path / f"{name}.py").write_text("")
    assert broken_rules(tmp_path) == [message]


def test_long_files_say_why():
    """No file has more than 400 lines, unless its docstring says why it is one file."""
    for folder in ("gamekit", "agent", "mallocgame", "games", "tests", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if text.count("\n") > 400:
                docstring = ast.get_docstring(ast.parse(text)) or ""
                assert "one file" in docstring, f"{path}: {text.count(chr(10))} lines"
