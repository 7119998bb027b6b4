"""Configuration of a training run: frozen dataclasses, from YAML and `key.sub=value` overrides.

Every field is validated where it is defined; an unknown key, a value of the wrong type and a value
out of range each end in one line that names the key.
"""

from __future__ import annotations

import dataclasses
import io
import math
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from agent.config.schedule import ScheduleConfig
from agent.config.sections import (
    GameChoice,
    LearnerConfig,
    NetworkConfig,
    ReanalyseConfig,
    ReplayConfig,
    RolloutConfig,
    SearchConfig,
    TargetConfig,
    TrainConfig,
    VariantsConfig,
    check,
    not_negative,
)
from gamekit.errors import InputError
from gamekit.files import read_text, write_text
from gamekit.jsonfile import short
from gamekit.registry import DEFAULT, load_domain
from gamekit.text import MAX_STEM_BYTES

MAX_CONFIG_BYTES = 1 << 20
INT32_MAX = 2**31 - 1
# Differences in these keys do not make another run: a finished run may be continued.
CONTINUABLE = (
    "train.iterations",
    "train.minutes",
    "train.devices",
    "train.processes",
    "train.coordinator",
    "train.process",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run.

    name: of its folder.
    game: which one, and its options.
    programs: the instances of the game that are played: for the mallocGame suites, files, folders.
    variants: instances made of others that are played beside them.
    demonstrations: solvers whose imitated games are the instances' first best games;
        demonstration_seconds: budget of those that search. Training from nothing caught up with
        them in two minutes.
    """

    name: str
    game: GameChoice
    programs: tuple[str, ...] = ()
    variants: VariantsConfig = dataclasses.field(default_factory=VariantsConfig)
    demonstrations: tuple[str, ...] = ()
    demonstration_seconds: float = 10.0
    seed: int = 0
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    search: SearchConfig = dataclasses.field(default_factory=SearchConfig)
    rollout: RolloutConfig = dataclasses.field(default_factory=RolloutConfig)
    replay: ReplayConfig = dataclasses.field(default_factory=ReplayConfig)
    targets: TargetConfig = dataclasses.field(default_factory=TargetConfig)
    reanalyse: ReanalyseConfig = dataclasses.field(default_factory=ReanalyseConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    learner: LearnerConfig = dataclasses.field(default_factory=LearnerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if not _can_name_a_folder(self.name):
            raise ValueError(f"name: must be able to name a folder, got {short(self.name)}")
        check(self, "in [0, 2**31)", lambda value: 0 <= value < 2**31, "seed")
        not_negative(self, "demonstration_seconds")
        if self.replay.moves % self.rollout.moves:
            raise ValueError(
                f"replay.moves: must be a multiple of rollout.moves = {self.rollout.moves}, got "
                f"{self.replay.moves}"
            )
        if self.learner.unroll >= self.replay.moves:
            raise ValueError(
                f"learner.unroll: must be below replay.moves = {self.replay.moves}, got "
                f"{self.learner.unroll}"
            )
        if not self.learner.unroll and self.search.model == "learned":
            raise ValueError(
                "learner.unroll: must be positive for search.model = 'learned', got 0, which "
                "trains no model"
            )
        if self.reanalyse.every and self.search.model == "game":
            raise ValueError(
                "reanalyse.every: must be 0 for search.model = 'game', as the replay holds "
                f"observations and no games; got {self.reanalyse.every}"
            )


def _can_name_a_folder(name: str) -> bool:
    if not name or name.startswith(".") or not name.isprintable():
        return False
    return not any(c in name for c in "/\\") and len(name.encode()) <= MAX_STEM_BYTES


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies `key.sub=value` overrides.

    Raises:
      InputError: the file or an override cannot be used; names the key.
    """
    path = Path(path)
    text = read_text(path, MAX_CONFIG_BYTES)
    try:
        # Aliases of aliases make gigabytes of a few lines.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise InputError(f"{path}: must be without anchors and aliases")
        node = OmegaConf.load(io.StringIO(text))
        if not isinstance(node, DictConfig):
            raise InputError(f"{path}: must hold keys and values")
        for item in overrides:
            if "=" not in item:
                raise InputError(f"{item}: must be key.sub=value")
        if isinstance(node.get("game"), str):
            node["game"] = {"name": node["game"]}
        changes = [f"game.name={i[5:]}" if i.startswith("game=") else i for i in overrides]
        node = OmegaConf.merge(node, OmegaConf.from_dotlist(changes))
        record = OmegaConf.to_container(node, resolve=True)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path}: must not be nested that deep") from None
    except Exception as error:  # whatever the libraries make of an override or a file
        raise InputError(f"{path}: {error}") from None
    return config_from_record(typing.cast("Mapping[str, Any]", record), str(path))


def config_from_record(record: Mapping[str, Any], source: str) -> Config:
    """Builds a Config from plain data; errors name `source` and the key.

    `game` is a game's name, or its name and options; without a name it is the default game.
    """
    record = dict(record)
    game = record.pop("game", {})
    game = {"name": game} if isinstance(game, str) else game
    if not isinstance(game, dict):
        raise InputError(f"{source}: game: must be a name, or keys and values, got {short(game)}")
    name = game.get("name", DEFAULT)
    if not isinstance(name, str):
        raise InputError(f"{source}: game.name: must be a string, got {short(name)}")
    try:
        kind = load_domain(name).options
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    options = {key: value for key, value in game.items() if key != "name"}
    built = GameChoice(name, _build(kind, options, source, "game."))
    return _build(Config, record, source, "", game=built)


def config_record(config: Config) -> dict[str, Any]:
    """The whole configuration as plain data, for `config_from_record`."""
    record = dataclasses.asdict(config)
    for name in ("programs", "demonstrations"):
        record[name] = list(record[name])
    record["variants"]["of"] = list(record["variants"]["of"])
    record["game"] = {"name": record["game"]["name"]} | record["game"]["options"]
    return record


def save_config(config: Config, path: Path) -> None:
    """Writes the whole configuration, defaults included, as YAML, atomically."""
    record = config_record(config)
    write_text(path, yaml.safe_dump(record, sort_keys=False))


def differences(one: Config, other: Config) -> list[str]:
    """Keys in which two configurations make different runs."""
    a, b = _flat(dataclasses.asdict(one)), _flat(dataclasses.asdict(other))
    return [key for key in {**a, **b} if key not in CONTINUABLE and a.get(key) != b.get(key)]


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key; those of the game's options lie beside the game's name."""
    items: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            items |= _flat(value, prefix if key == "options" else f"{prefix}{key}.")
        else:
            items[f"{prefix}{key}"] = value
    return items


def _build(kind: Any, record: Any, source: str, prefix: str, **built: Any) -> Any:
    """A dataclass from plain data; `built`: fields that are there already."""
    if not isinstance(record, dict):
        raise InputError(f"{source}: {prefix.rstrip('.') or 'file'}: must hold keys and values")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in built}
    for key in record:
        if key not in fields:
            raise InputError(f"{source}: {prefix}{key}: unknown key")
    values = {}
    for name, field in fields.items():
        if name in record:
            values[name] = _convert(hints[name], record[name], source, f"{prefix}{name}")
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{source}: {prefix}{name}: is missing")
    try:
        return kind(**values, **built)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except ValueError as error:
        raise InputError(f"{source}: {prefix}{error}") from None


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if hint == tuple[str, ...]:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return tuple(value)
        raise InputError(f"{source}: {key}: must be a list of strings, got {short(value)}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(
            f"{source}: {key}: must be a value of type {hint.__name__}, got {short(value)}"
        )
    if hint is float and not math.isfinite(value):
        raise InputError(f"{source}: {key}: must be a finite number, got {value}")
    if hint is int and abs(value) > INT32_MAX:
        raise InputError(f"{source}: {key}: must be an integer of 32 bits, got {short(value)}")
    return value
