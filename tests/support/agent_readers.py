"""Valid checkpoints and their readers, for `tests.support.fuzz_readers`."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.run.checkpoint import load_agent
from agent.run.loaded import Loaded, untrained
from agent.run.shipped import load_shipped, save_shipped
from gamekit.probe import DOMAIN
from tests.support.agent_setup import save_run, small_config

Content = str | bytes | dict[str, Any]
DIGEST = re.compile(r"[0-9a-f]{32}")


def agent_readers() -> list[tuple[str, Content, Callable[[Path], None]]]:
    """Name of each file, what it holds when all is well, and who reads it."""
    config = small_config(search={"simulations": 2, "max_depth": 2})
    spec = DOMAIN.build([DOMAIN.instances(["delayed"])[0]], None).spec
    agent = untrained(config, spec)
    home = Path(tempfile.mkdtemp(prefix="fuzzed-agents-"))
    save_shipped(home / "shipped", Loaded(agent, config, spec), {})
    run = save_run(home / "run", config, agent, spec)
    arrays = (home / "shipped" / "agent.npz").read_bytes()
    described = json.loads((home / "shipped" / "agent.json").read_text(encoding="utf-8"))

    def read_description(path: Path) -> None:
        folder = path.parent / "description"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / "agent.json")
        (folder / "agent.npz").write_bytes(arrays)
        load_shipped(folder)

    def read_arrays(path: Path) -> None:
        """The arrays with a description that has their own hash."""
        folder = path.parent / "arrays"
        folder.mkdir(exist_ok=True)
        raw = path.read_bytes()
        (folder / "agent.npz").write_bytes(raw)
        record = described | {"sha256": hashlib.sha256(raw).hexdigest()}
        (folder / "agent.json").write_text(json.dumps(record), encoding="utf-8")
        load_shipped(folder)

    def reader_of(file: Path) -> Callable[[Path], None]:
        def read(path: Path) -> None:
            folder = path.parent / "run"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(run, folder)
            shutil.copyfile(path, folder / file)
            load_agent(folder)

        return read

    found: list[tuple[str, Content, Callable[[Path], None]]] = [
        ("agent.json", described, read_description),
        ("agent.npz", arrays, read_arrays),
    ]
    for file in sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()):
        name = DIGEST.sub("data", str(file)).replace("/", "+")
        found.append((name, _content(run / file), reader_of(file)))
    return found


def _content(path: Path) -> Content:
    """A file as JSON where it holds some, else as text or bytes."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
        record = json.loads(text)
    except ValueError:
        return raw
    return record if isinstance(record, dict) else text
