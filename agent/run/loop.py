"""The training loop on the host: resumes, iterates, writes metrics, checkpoints and best games."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from agent.config import Config, differences, load_config, save_config
from agent.learning.learner import Iteration, make_iteration
from agent.learning.state import TrainState
from agent.run.checkpoint import Checkpoints, Counters
from agent.run.errors import TrainingDiverged
from agent.run.hosts import agree, as_first, is_first
from agent.run.journal import BestWriter, Journal, TrainedInstance
from gamekit.domain import Domain
from gamekit.environment import Environment, State
from gamekit.errors import InputError
from gamekit.files import locked, unwritable

PROFILED = (2, 5)
# Called with the state of a run that begins; what it returns is stored as iteration 0.
Prepare = Callable[[TrainState], TrainState]
# The search is timed alone in the fifth iteration of the process and every fifty later: a while
# after checkpoints at round numbers, whose writing would be timed too.
TIMED, TIMED_EVERY = 4, 50


def train(
    config: Config,
    domain: Domain,
    game: Environment[State],
    run: Path,
    mesh: Mesh,
    entries: tuple[TrainedInstance, ...],
    write_best: BestWriter | None = None,
    profile: bool = False,
    prepare: Prepare | None = None,
) -> TrainState[State]:
    """Trains, or goes on training, in the folder `run`.

    game: an environment of `domain`; entries: its instances.
    profile: traces a few iterations with JAX's profiler, into the folder `profile` of the run.
    prepare: what a new run begins with.

    Raises:
      InputError: the folder belongs to another run, is in use, or its checkpoint is unusable.
      TrainingDiverged: the last checkpoint is from before that.
    """
    with contextlib.ExitStack() as stack:
        trouble = None
        if is_first():
            try:
                stack.enter_context(_claim(run, config))
            except InputError as error:
                trouble = error
        same = dataclasses.replace(config, train=dataclasses.replace(config.train, process=0))
        agree(f"{same} {entries}", trouble)
        checkpoints = Checkpoints(run / "checkpoints", game.spec)
        stack.callback(checkpoints.close)
        # Every device needs the instances' tables, those of other processes too.
        game = jax.device_put(game, NamedSharding(mesh, PartitionSpec()))
        iteration = make_iteration(config, game, mesh)
        fingerprints = tuple(entry.fingerprint for entry in entries)
        state, counters = _start(config, game, iteration, checkpoints, fingerprints, prepare)
        journal = trace = None
        if is_first():
            save_config(config, run / "config.yaml")
            step = int(state.iteration)
            journal = Journal(config, domain, run, step, entries, write_best)
            stack.enter_context(journal)
            trace = stack.enter_context(_Trace(run / "profile" if profile else None))
        training = _Training(config, game, run, iteration, checkpoints, journal, trace)
        return training.go_on(state, counters)


class _Times(NamedTuple):
    """An iteration's times in seconds: when it began, had played and ended."""

    began: float
    played: float
    ended: float


class _Training:
    """The loop, and what it measures of itself.

    pace: a running mean of the seconds of an iteration, None while it is unknown.
    search_share: the share of the play that searches take, None while it is unknown.
    """

    def __init__(
        self,
        config: Config,
        game: Environment[Any],
        run: Path,
        iteration: Iteration,
        checkpoints: Checkpoints,
        journal: Journal | None,
        trace: _Trace | None,
    ):
        self.config, self.game, self.run, self.iteration = config, game, run, iteration
        self.checkpoints, self.journal, self.trace = checkpoints, journal, trace
        self.pace: float | None = None
        self.search_share: float | None = None

    def go_on(self, state: TrainState, counters: Counters) -> TrainState:
        """Iterates until the run is at its end."""
        settings = self.config.train
        first = step = saved_at = int(state.iteration)
        clock = time.perf_counter() - counters.wall_s
        while step < settings.iterations and not _out_of_time(self.config, clock):
            state, measured, times = self._iterate(state, step - first)
            step += 1
            if measured.pop("diverged"):
                raise TrainingDiverged(
                    f"{self.run}: iteration {step}: the loss or its gradient is not finite; the "
                    f"checkpoint of iteration {self.checkpoints.latest() or 0} is intact; start "
                    "another run with a lower learner.learning_rate"
                )
            counters = dataclasses.replace(
                counters,
                moves=counters.moves + self.config.rollout.games * self.config.rollout.moves,
                games=counters.games + int(measured.pop("finished")),
                wall_s=times.ended - clock,
            )
            # The first iteration compiles: it says nothing about the time that is left.
            if step > first + 1:
                self.pace = _smooth(self.pace, times.ended - times.began)
            if self.journal:
                self._report(self.journal, step, counters, measured, state, times)
            if step % settings.checkpoint_every == 0:
                self.checkpoints.save(step, state, counters)
                saved_at = step
        if step > saved_at:
            self.checkpoints.save(step, state, counters)
        return state

    def _iterate(self, state: TrainState, number: int) -> tuple[TrainState, dict[str, Any], _Times]:
        """One iteration, the `number`-th of this process."""
        if self.trace:
            self.trace.at(number)
        # Again now and then: with the game as model a search is as fast as the games are.
        searched = self._time_search(state) if number % TIMED_EVERY == TIMED else None
        began = time.perf_counter()
        state, play_metrics = self.iteration.play(self.game, state)
        jax.block_until_ready(play_metrics["finished"])
        played = time.perf_counter()
        if searched is not None:
            # Alone it may take longer than with the rest: the machine is shared, and noisy.
            self.search_share = min(searched / (played - began), 1.0)
        state, learn_metrics = self.iteration.learn(self.game, state)
        measured = jax.device_get(play_metrics | learn_metrics)
        return state, measured, _Times(began, played, time.perf_counter())

    def _time_search(self, state: TrainState) -> float:
        """Seconds that an iteration spends in searches, from some of them alone."""
        moves = self.config.rollout.moves
        count = min(8, moves)
        timings = []
        for _ in range(3):  # the first one compiles
            began = time.perf_counter()
            jax.block_until_ready(self.iteration.search(self.game, state, count))
            timings.append(time.perf_counter() - began)
        return min(timings) / count * moves

    def _report(
        self,
        journal: Journal,
        step: int,
        counters: Counters,
        measured: dict[str, Any],
        state: TrainState,
        times: _Times,
    ) -> None:
        """Writes an iteration's line and the best games that are new."""
        config, best = self.config, np.asarray(state.best.score)
        duration = times.ended - times.began
        rate = config.rollout.games * config.rollout.moves / duration
        play_share, searching = (times.played - times.began) / duration, self.search_share
        returns = measured.pop("return_by_instance")
        line = {
            "step": step,
            "wall_s": counters.wall_s,
            "games": counters.games,
            "moves": counters.moves,
            f"best_{journal.score_word}": float(np.mean(best))
            if np.all(np.isfinite(best))
            else None,
            "typical_advantage": float(state.typical_advantage),
            "moves_per_s": rate,
            "simulations_per_s": rate * config.search.simulations,
            "updates_per_s": config.learner.updates / duration,
            "play_share": play_share,
            "search_share": None if searching is None else searching * play_share,
        }
        for name, value in measured.items():
            line[name] = float(value) if math.isfinite(value) else None
        line["left_s"] = _left(config, step, counters, self.pace)
        length = state.best.length
        line |= journal.write_improved(
            best, lambda p: np.asarray(state.best.moves[p, : int(length[p])])
        )
        journal.write(line, returns, best)


class _Trace:
    """JAX's profiler over a few iterations, but not the first; use as a context manager."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._is_on = False

    def __enter__(self) -> _Trace:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._is_on:
            jax.profiler.stop_trace()
            self._is_on = False

    def at(self, iteration: int) -> None:
        """Says that an iteration, counted from the start of the process, is about to begin."""
        if self._folder and iteration == PROFILED[0]:
            jax.profiler.start_trace(self._folder)
            self._is_on = True
        elif iteration == PROFILED[1]:
            self.__exit__()


def _start(
    config: Config,
    game: Environment[State],
    iteration: Iteration,
    checkpoints: Checkpoints,
    instances: tuple[str, ...],
    prepare: Prepare | None,
) -> tuple[TrainState[State], Counters]:
    """The newest checkpoint, or a fresh state."""
    found = checkpoints.restore_newest(iteration.abstract_state)
    if found is None:
        key = jax.random.key_data(jax.random.key(config.seed))
        state, counters = iteration.init(game, key), Counters(instances=instances)
        if prepare:
            state = prepare(state)
            checkpoints.save(0, state, counters)
        return state, counters
    state, counters = found
    if counters.instances != instances:
        raise InputError(
            f"the run's checkpoint was made with other programs "
            f"({', '.join(counters.instances) or 'none'}; now {', '.join(instances) or 'none'})"
        )
    return state, counters


def _smooth(mean: float | None, new: float) -> float:
    return new if mean is None else mean + 0.1 * (new - mean)


def _left(config: Config, step: int, counters: Counters, pace: float | None) -> float | None:
    """Seconds of training left, None while the pace is unknown."""
    by_clock = max(0.0, 60 * config.train.minutes - counters.wall_s)
    if pace is None:
        return by_clock if config.train.minutes else None
    by_steps = (config.train.iterations - step) * pace
    return min(by_steps, by_clock) if config.train.minutes else by_steps


def _out_of_time(config: Config, clock: float) -> bool:
    minutes = config.train.minutes
    return minutes > 0 and as_first(time.perf_counter() - clock >= 60 * minutes)


@contextlib.contextmanager
def _claim(run: Path, config: Config) -> Iterator[None]:
    """Makes sure that the folder is this run's and nobody else's."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run}: must be a folder")
    if (run / "config.yaml").exists():
        stored = load_config(run / "config.yaml")
        if keys := differences(stored, config):
            raise InputError(
                f"{run}: belongs to a run with another config ({', '.join(keys)}); "
                "choose another name or remove the folder"
            )
    elif run.exists() and any(not p.name.startswith(".") for p in run.iterdir()):
        raise InputError(f"{run}: is not a training run (it has no config.yaml), and is not empty")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(run, error) from None
    with locked(run / ".lock", f"{run}: another process is training there"):
        if not (run / "config.yaml").exists():  # first of all, so that a killed run is recognised
            save_config(config, run / "config.yaml")
        yield
