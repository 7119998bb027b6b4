"""The sections of a configuration, each a frozen dataclass that checks its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


def check(section: Any, what: str, is_right: Callable[[Any], bool], *fields: str) -> None:
    """Raises ValueError for the first of some fields that is not as it must be."""
    for field in fields:
        value = getattr(section, field)
        if not is_right(value):
            raise ValueError(f"{field}: must be {what}, got {value!r}")


def _positive(section: Any, *fields: str) -> None:
    check(section, "positive", lambda value: value > 0, *fields)


def _fraction(section: Any, *fields: str) -> None:
    check(section, "in [0, 1]", lambda value: 0 <= value <= 1, *fields)


def not_negative(section: Any, *fields: str) -> None:
    check(section, "at least 0", lambda value: value >= 0, *fields)


def _one_of(section: Any, choices: tuple[str, ...], *fields: str) -> None:
    check(section, f"one of {', '.join(choices)}", lambda value: value in choices, *fields)


@dataclasses.dataclass(frozen=True)
class GameChoice:
    """The game that is played, by its name (`gamekit.registry`), and the options of its rules."""

    name: str
    options: Any


@dataclasses.dataclass(frozen=True)
class VariantsConfig:
    """Variants that the game makes of instances, drawn by the run's seed.

    count: how many.
    of: the instances that they are made of; those of `programs` where none are named.
    """

    count: int = 0
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        not_negative(self, "count")


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks.

    latent: width of the latent state the search works on.
    hidden: width inside the residual blocks and the heads.
    representation_blocks, dynamics_blocks: residual blocks of the two.
    atoms: classes of the categorical value and reward.
    dtype: "float32" or "bfloat16", what the networks compute in. Parameters and optimiser are
        float32. For TPUs and GPUs; a CPU is slower in bfloat16.
    encoder: "flat" reads an observation as one vector; "parts" reads each of its parts by its kind
        (`agent.networks.encoder`), with the sizes below. In two minutes on a CPU it was no better.
    channels, tower_blocks: of the residual tower over series.
    width, heads, attention_layers: of the attention over tokens.
    """

    latent: int = 128
    hidden: int = 128
    representation_blocks: int = 2
    dynamics_blocks: int = 1
    atoms: int = 64
    dtype: str = "float32"
    encoder: str = "flat"
    channels: int = 32
    tower_blocks: int = 2
    width: int = 32
    heads: int = 2
    attention_layers: int = 1

    def __post_init__(self) -> None:
        _positive(self, "latent", "hidden", "representation_blocks", "dynamics_blocks")
        _positive(self, "channels", "tower_blocks", "width", "heads", "attention_layers")
        _one_of(self, ("flat", "parts"), "encoder")
        _one_of(self, ("float32", "bfloat16"), "dtype")
        check(self, "at least 8", lambda value: value >= 8, "atoms")
        if self.width % self.heads:
            raise ValueError(f"width: must be a multiple of heads = {self.heads}, got {self.width}")


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The search at every move, Gumbel MuZero's.

    model: "learned" (MuZero), or "game": the tree is built with the game itself (AlphaZero). One
        ply in the game learned fastest on CPU cores (docs/results/ablations.md).
    simulations, max_depth: size of the tree. Without simulations the policy is the network's. One
        ply in the game looks at every answer and needs no tree.
    advantage_logits: how many logits an advantage of typical size is worth in the improved policy;
        the typical size is measured while playing.
    """

    model: str = "learned"
    simulations: int = 8
    max_depth: int = 4
    advantage_logits: float = 2.0

    def __post_init__(self) -> None:
        _one_of(self, ("learned", "game"), "model")
        not_negative(self, "simulations")
        _positive(self, "max_depth", "advantage_logits")


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
    """Self-play of one iteration.

    games: games played in lockstep, over all devices.
    moves: moves of each game in one iteration.
    guided_fraction: share of new games that first follow their instance's best game so far.
    deviating: share of these that come back to the best game (`agent.selfplay.guidance`).
    balance: of instances; 0 plays each equally often, 1 for as many moves, so that short ones are
        played more often.
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
    """The newest moves of every game. What priorities bring has not been measured by itself.

    moves: moves kept of each game; a multiple of rollout.moves.
    balance: 1 samples every instance equally often, 0 in proportion to its moves in the replay.
    priority: power of the value's error that a position is sampled in proportion to; 0: all alike.
    correction: share of the bias of priorities that weights in the loss take back.
    """

    moves: int = 2048
    balance: float = 1.0
    priority: float = 0.0
    correction: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "moves")
        _fraction(self, "balance", "priority", "correction")


@dataclasses.dataclass(frozen=True)
class TargetConfig:
    """What the networks learn.

    td_lambda: mixture of n-step returns; 1 is the full return, 0 the next root value.
    taught: what the answer of the instance's best game, or else of its demonstration, counts for in
        the policy's target beside the search's policy, in whatever state the question is asked.
    """

    td_lambda: float = 1.0
    taught: float = 0.0

    def __post_init__(self) -> None:
        _fraction(self, "td_lambda", "taught")


@dataclasses.dataclass(frozen=True)
class ReanalyseConfig:
    """Old positions searched anew with a target network (`agent.learning.reanalyse`).

    In two minutes of training what it brings is within the spread of seeds.

    every: n searches every n-th of the sampled positions; 0 none, and there is no target network.
    value_weight: what the new search's value counts for beside the return of the game.
    target_rate: part of the way that the target network follows the network in an update.
    """

    every: int = 0
    value_weight: float = 0.5
    target_rate: float = 0.02

    def __post_init__(self) -> None:
        not_negative(self, "every")
        _fraction(self, "value_weight", "target_rate")


@dataclasses.dataclass(frozen=True)
class LearnerConfig:
    """The optimiser and the loss.

    batch_size: positions of one update, over all devices.
    unroll: steps the learned model is unrolled; 0 trains none, for search.model = "game".
    updates: updates of one iteration.
    learning_rate (after `warmup` updates), weight_decay, max_gradient_norm: AdamW.
    dropout: share of the hidden units that an update leaves out of the networks.
    """

    batch_size: int = 256
    unroll: int = 4
    updates: int = 16
    learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    max_gradient_norm: float = 5.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, "batch_size", "updates", "learning_rate", "max_gradient_norm")
        not_negative(self, "unroll", "warmup", "weight_decay")
        check(self, "at least 0 and below 1", lambda value: 0 <= value < 1, "dropout")


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
        not_negative(self, "minutes", "devices", "processes", "process")
        host, _, port = self.coordinator.rpartition(":")
        if self.processes > 1 and not (host and port.isdigit()):
            raise ValueError(
                f"coordinator: must be host:port for {self.processes} processes, got "
                f"{self.coordinator!r}"
            )
        if self.process >= max(self.processes, 1):
            raise ValueError(f"process: must be below processes, got {self.process!r}")
