"""Configuration of a training run: frozen dataclasses, from YAML and `key.sub=value` overrides.

Every field is validated where it is defined; an unknown key, a value of the wrong type and a value
out of range each end in one line that names the key.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from agent.config.presets import PRESETS
from agent.config.schedule import ScheduleConfig
from gamekit.errors import InputError
from mallocgame.game.options import GameConfig

# Differences in these keys do not make another run: a finished run may be continued.
CONTINUABLE = (
    "train.iterations",
    "train.minutes",
    "train.devices",
    "train.processes",
    "train.coordinator",
    "train.process",
)


def _positive(section: Any, *fields: str) -> None:
    for field in fields:
        if not getattr(section, field) > 0:
            raise ValueError(f"{field}: {getattr(section, field)!r} is not positive")


def _fraction(section: Any, *fields: str) -> None:
    for field in fields:
        if not 0 <= getattr(section, field) <= 1:
            raise ValueError(f"{field}: {getattr(section, field)!r} is not in [0, 1]")


def _not_negative(section: Any, *fields: str) -> None:
    for field in fields:
        if not getattr(section, field) >= 0:
            raise ValueError(f"{field}: {getattr(section, field)!r} is negative")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks.

    latent: width of the latent state the search works on.
    hidden: width inside the residual blocks and the heads.
    representation_blocks, dynamics_blocks: residual blocks of the two.
    atoms: classes of the categorical value and reward.
    dtype: "float32" or "bfloat16", what the networks compute in. Parameters and optimiser are
        float32. For TPUs and GPUs; a CPU is slower in bfloat16.
    encoder: "flat" is an MLP over any observation; "parts" reads the parts of the game's rich
        observation (`agent.networks.encoder`), with the sizes below.
    profile, window: whether the memory profile and the coming stops are looked at.
    channels, tower_blocks: the residual tower over the profile.
    width, heads, attention_layers: the attention over the stops.
    """

    latent: int = 128
    hidden: int = 128
    representation_blocks: int = 2
    dynamics_blocks: int = 1
    atoms: int = 64
    dtype: str = "float32"
    encoder: str = "flat"
    profile: bool = True
    window: bool = True
    channels: int = 32
    tower_blocks: int = 2
    width: int = 32
    heads: int = 2
    attention_layers: int = 1

    def __post_init__(self) -> None:
        _positive(self, "latent", "hidden", "representation_blocks", "dynamics_blocks")
        _positive(self, "channels", "tower_blocks", "width", "heads", "attention_layers")
        if self.encoder not in ("flat", "parts"):
            raise ValueError(f"encoder: {self.encoder!r} is neither 'flat' nor 'parts'")
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is no multiple of heads = {self.heads}")
        if self.atoms < 8:
            raise ValueError(f"atoms: {self.atoms!r} is less than 8")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype: {self.dtype!r} is neither 'float32' nor 'bfloat16'")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The search at every decision.

    algorithm: "gumbel" (Gumbel MuZero) or "puct" (MuZero).
    model: "learned" (MuZero), or "game": the tree is built with the game itself (AlphaZero).
    simulations, max_depth: size of the tree. Without simulations (Gumbel only) the policy plays by
        itself, and learns nothing from the search.
    advantage_logits: how many logits an advantage of typical size is worth in the improved policy
        (Gumbel); the typical size is measured while playing.
    dirichlet_fraction: exploration noise at the root (PUCT).
    """

    algorithm: str = "gumbel"
    model: str = "learned"
    simulations: int = 8
    max_depth: int = 4
    advantage_logits: float = 2.0
    dirichlet_fraction: float = 0.25

    def __post_init__(self) -> None:
        if self.algorithm not in ("gumbel", "puct"):
            raise ValueError(f"algorithm: {self.algorithm!r} is neither 'gumbel' nor 'puct'")
        if self.model not in ("learned", "game"):
            raise ValueError(f"model: {self.model!r} is neither 'learned' nor 'game'")
        _positive(self, "max_depth", "advantage_logits")
        _not_negative(self, "simulations")
        if self.algorithm == "puct" and not self.simulations:
            raise ValueError("simulations: 0 needs algorithm = 'gumbel'")
        _fraction(self, "dirichlet_fraction")


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
    """Self-play of one iteration.

    games: games played in lockstep, over all devices.
    moves: moves of each game in one iteration.
    guided_fraction: share of new games that first follow the program's best game so far, up to a
        random decision, and play on by themselves from there.
    deviating: share of these that come back to the best game's answers (`agent.selfplay.guidance`).
    balance: of programs; 0 plays every one equally often, 1 for as many moves, so that short ones
        are played more often.
    """

    games: int = 64
    moves: int = 128
    guided_fraction: float = 0.3
    deviating: float = 0.5
    balance: float = 0.5

    def __post_init__(self) -> None:
        _positive(self, "games", "moves")
        _fraction(self, "guided_fraction", "deviating", "balance")


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """The newest moves of every game.

    moves: moves kept of each game; a multiple of rollout.moves.
    elite_fraction: share of the sampled positions that come from the best episodes in the replay.
    elite_quantile: an episode is among the best if its return is above this quantile of its
        program's episodes in the replay.
    balance: 1 samples every program equally often, 0 in proportion to its moves in the replay.
    priority: power of the value's error that a position is sampled in proportion to; 0: all alike.
    correction: share of the bias of priorities that weights in the loss take back.
    """

    moves: int = 2048
    elite_fraction: float = 0.0
    elite_quantile: float = 0.9
    balance: float = 1.0
    priority: float = 0.0
    correction: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "moves")
        _fraction(self, "elite_fraction", "elite_quantile", "balance", "priority", "correction")


@dataclasses.dataclass(frozen=True)
class TargetConfig:
    """What the networks learn.

    td_lambda: mixture of n-step returns; 1 is the full return, 0 the next root value.
    imitation: weight of the move played, against the search's policy, in the policy target of
        positions of the best episodes (replay.elite_quantile).
    """

    td_lambda: float = 1.0
    imitation: float = 0.0

    def __post_init__(self) -> None:
        _fraction(self, "td_lambda", "imitation")


@dataclasses.dataclass(frozen=True)
class ReanalyseConfig:
    """Old positions searched anew with a target network (`agent.learning.reanalyse`).

    every: every so manieth of the sampled positions; 0: none, and no target network.
    value_weight: what the new search's value counts for beside the return of the game.
    target_rate: part of the way that the target network follows the network in an update.
    """

    every: int = 0
    value_weight: float = 0.5
    target_rate: float = 0.02

    def __post_init__(self) -> None:
        _not_negative(self, "every")
        _fraction(self, "value_weight", "target_rate")


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """The optimiser and the loss.

    batch_size: positions of one update, over all devices.
    unroll: steps the learned model is unrolled; 0 trains none, for search.model = "game".
    updates: updates of one iteration.
    learning_rate (after `warmup` updates), weight_decay, max_gradient_norm: AdamW.
    policy_weight, value_weight, reward_weight, legal_weight, consistency_weight: parts of the loss.
    """

    batch_size: int = 256
    unroll: int = 4
    updates: int = 16
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    max_gradient_norm: float = 5.0
    policy_weight: float = 1.0
    value_weight: float = 1.0
    reward_weight: float = 1.0
    legal_weight: float = 0.2
    consistency_weight: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "batch_size", "updates", "learning_rate", "max_gradient_norm")
        _not_negative(
            self,
            "unroll",
            "warmup",
            "weight_decay",
            "policy_weight",
            "value_weight",
            "reward_weight",
            "legal_weight",
            "consistency_weight",
        )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of the run, and where it runs.

    iterations: the run ends after so many iterations, or after `minutes` of training if that is
        sooner (0: no limit).
    checkpoint_every: iterations between checkpoints.
    devices: devices to play on, of all processes together; 0 takes all (on a CPU host: one a core,
        at most 8).
    processes: processes of the run, each of which is started with the same configuration but its
        own `process`; 0 asks the cluster (a TPU pod, Slurm, MPI), which knows everything itself,
        and is one process where there is none.
    coordinator: host:port of process 0, for more than one process.
    process: this process's number, from 0 on.
    start_from: folder of a run whose networks this one begins with (fine-tuning); "" is a fresh
        start.
    """

    iterations: int = 100
    minutes: float = 0.0
    checkpoint_every: int = 20
    devices: int = 0
    processes: int = 1
    coordinator: str = ""
    process: int = 0
    start_from: str = ""

    def __post_init__(self) -> None:
        _positive(self, "iterations", "checkpoint_every")
        _not_negative(self, "minutes", "devices", "processes", "process")
        host, _, port = self.coordinator.rpartition(":")
        if self.processes > 1 and not (host and port.isdigit()):
            raise ValueError(
                f"coordinator: {self.coordinator!r} is not host:port, which "
                f"{self.processes} processes need"
            )
        if self.process >= max(self.processes, 1):
            raise ValueError(f"process: {self.process!r} is not below processes")


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run; `name` names its folder, `programs` are files or folders of programs.

    demonstrations: mappers whose imitated games are the programs' first best games
        (`mallocgame.demonstrations`); demonstration_seconds: budget of those that search.
    """

    name: str
    programs: tuple[str, ...] = ()
    demonstrations: tuple[str, ...] = ()
    demonstration_seconds: float = 10.0
    seed: int = 0
    game: GameConfig = dataclasses.field(default_factory=GameConfig)
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
        if not self.name or self.name.startswith(".") or any(c in self.name for c in "/\\\0"):
            raise ValueError(f"name: {self.name!r} cannot name a folder")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed: {self.seed!r} is not in [0, 2**31)")
        _not_negative(self, "demonstration_seconds")
        if self.replay.moves % self.rollout.moves:
            raise ValueError(
                f"replay.moves: {self.replay.moves} is no multiple of "
                f"rollout.moves = {self.rollout.moves}"
            )
        if self.learner.unroll >= self.replay.moves:
            raise ValueError("learner.unroll: longer than replay.moves")
        if not self.learner.unroll and self.search.model == "learned" and self.search.simulations:
            raise ValueError(
                "learner.unroll: 0 trains no model; search.model = 'learned' needs one"
            )
        if self.network.encoder == "parts" and self.game.observation != "rich":
            raise ValueError("network.encoder: 'parts' needs game.observation = 'rich'")
        if self.reanalyse.every and self.search.model == "game":
            raise ValueError(
                "reanalyse.every: needs search.model = 'learned'; the replay holds "
                "observations and no games"
            )


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies `key.sub=value` overrides.

    Raises:
      InputError: the file or an override cannot be used; names the key.
    """
    path = Path(path)
    try:
        node = OmegaConf.load(path)
        if not isinstance(node, DictConfig):
            raise InputError(f"{path}: expected keys and values")
        for item in overrides:
            if "=" not in item:
                raise InputError(f"{item}: expected key.sub=value")
        node = OmegaConf.merge(node, OmegaConf.from_dotlist(list(overrides)))
        record = OmegaConf.to_container(node, resolve=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    return config_from_record(typing.cast("Mapping[str, Any]", record), str(path))


def config_from_record(record: Mapping[str, Any], source: str) -> Config:
    """Builds a Config from plain data; errors name `source` and the key.

    `preset` names sizes of the agent (`agent.config.presets`) under the record's own keys; it is no
    field of the configuration, which holds what came of it.
    """
    record = dict(record)
    preset = record.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise InputError(f"{source}: preset: {preset!r} is none of {', '.join(PRESETS)}")
    for name, section in PRESETS[preset].items() if preset else ():
        own = record.get(name, {})
        record[name] = section | own if isinstance(own, dict) else own
    return _build(Config, record, source, "")


def save_config(config: Config, path: Path) -> None:
    """Writes the whole configuration, defaults included, as YAML, atomically."""
    record = dataclasses.asdict(config)
    for name in ("programs", "demonstrations"):
        record[name] = list(record[name])
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(yaml.safe_dump(record, sort_keys=False))
    temporary.replace(path)


def differences(one: Config, other: Config) -> list[str]:
    """Keys in which two configurations make different runs."""

    def flat(config: Config) -> dict[str, Any]:
        items = {}
        for key, value in dataclasses.asdict(config).items():
            if isinstance(value, dict):
                items |= {f"{key}.{sub}": v for sub, v in value.items()}
            else:
                items[key] = value
        return items

    a, b = flat(one), flat(other)
    return [key for key in a if key not in CONTINUABLE and a[key] != b[key]]


def _build(kind: Any, record: Any, source: str, prefix: str) -> Any:
    if not isinstance(record, dict):
        raise InputError(f"{source}: {prefix.rstrip('.') or 'file'}: expected keys and values")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
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
        return kind(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except ValueError as error:
        raise InputError(f"{source}: {prefix}{error}") from None


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint == tuple[str, ...]:
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            return tuple(value)
        raise InputError(f"{source}: {key}: expected a list of strings, found {value!r}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{source}: {key}: expected {hint.__name__}, found {value!r}")
    if hint is float and value != value:
        raise InputError(f"{source}: {key}: is not a number")
    return value
