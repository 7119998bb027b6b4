"""Runs one mapper on one program; what several of them need is made once."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Protocol

from mallocgame.evaluation.plan import LEARNED, Entry
from mallocgame.game.options import GameConfig
from mallocgame.program import Program
from mallocgame.program.mapping import Mapping, all_slow

if TYPE_CHECKING:
    from mallocgame.game.environment import Game


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a mapper made of one program.

    mapping: None for the bound.
    bound_s: latency that it proved to be a limit, 0 if it proved nothing.
    """

    mapping: Mapping | None
    seconds: float
    decisions: int = 0
    drop_backups: int = 0
    bound_s: float = 0.0


class Player(Protocol):
    """Mappers that somebody else brings, the trained agent's."""

    def rules(self) -> GameConfig:
        """The game that they play, the same for all rows; InputError if they cannot be used."""
        ...

    def play(self, entry: Entry, game: Game, program: Program) -> Outcome | None:
        """The outcome on one program; None where the mapper does not apply to it."""
        ...


class Bench:
    """Mappers by name; `player` runs those of `plan.LEARNED`.  Cheap to make and to pickle."""

    def __init__(self, player: Player | None = None):
        self._player = player
        self._config: GameConfig | None = None
        self._game: tuple[Program, Game] | None = None

    def prepare(self) -> None:
        """Reads what every row needs.

        Raises:
          InputError: the player cannot be used.
        """
        self._config = self._player.rules() if self._player else GameConfig()

    def run(self, program: Program, production: Mapping | None, entry: Entry) -> Outcome | None:
        """The outcome of one mapper; None where it does not apply to the program."""
        config = self._config or GameConfig()
        seed = entry.seed or 0
        if entry.mapper == "production":
            return production and Outcome(production, 0.0)
        if entry.mapper == "bound":
            return _bound(program)
        if entry.mapper == "imitated":
            return production and self._imitate(program, production, config)
        if entry.mapper in LEARNED:
            assert self._player is not None
            return self._player.play(entry, self._built(program, config), program)
        from mallocgame.mappers.registry import MAPPERS

        mapped = MAPPERS[entry.mapper](program, config, entry.budget_s or 0.0, seed)
        return Outcome(
            mapped.mapping,
            mapped.seconds,
            mapped.decisions,
            mapped.drop_backups,
            mapped.info.get("bound_s", 0.0),
        )

    def _built(self, program: Program, config: GameConfig) -> Game:
        from mallocgame.game.environment import build_game

        if self._game is None or self._game[0] is not program:
            self._game = program, build_game([program], config)
        return self._game[1]

    def _imitate(self, program: Program, production: Mapping, config: GameConfig) -> Outcome:
        from mallocgame.game.compile_program import compile_program
        from mallocgame.mappers.in_game import simple as rules
        from mallocgame.mappers.in_game.plans import play_plans

        game = self._built(program, config)
        started = time.perf_counter()
        plans = rules.imitate(compile_program(program, config), production)
        played = play_plans(game, program, plans)
        seconds = time.perf_counter() - started
        return Outcome(played.mapping, seconds, played.decisions, played.drop_backups)


def _bound(program: Program) -> Outcome:
    started = time.perf_counter()
    try:
        from mallocgame.mappers.linear.bound import lower_bound

        bound_s = lower_bound(program).latency_s
    except ImportError:  # without scipy: everything that fits in fast memory at no cost
        from mallocgame.judge import simulate

        bound_s = simulate(program, all_slow(program)).floor_latency_s
    return Outcome(None, time.perf_counter() - started, bound_s=bound_s)
