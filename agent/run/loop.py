"""The training loop on the host: resumes, iterates, writes metrics, checkpoints and mappings."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from agent.config import Config, differences, load_config, save_config
from agent.learning.learner import Iteration, TrainState, make_iteration
from agent.run.checkpoint import Checkpoints, Counters
from agent.run.errors import TrainingDiverged
from agent.run.hosts import agree, as_first, is_first
from agent.run.journal import BestWriter, Entry, Journal
from gamekit.errors import InputError

PROFILED = (2, 5)
# Called with the state of a run that begins; what it returns is stored as iteration 0.
Prepare = Callable[[TrainState], TrainState]
# The search is timed alone in the fifth iteration of the process and every fifty later: a while
# after checkpoints at round numbers, whose writing would be timed too.
TIMED, TIMED_EVERY = 4, 50


def train(
    config: Config,
    game: Any,
    run: Path,
    mesh: Mesh,
    programs: tuple[Entry, ...],
    write_best: BestWriter | None = None,
    profile: bool = False,
    prepare: Prepare | None = None,
) -> TrainState:
    """Trains, or goes on training, in the folder `run`.

    programs: the programs in `game`.
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
        agree(f"{same} {programs}", trouble)
        checkpoints = Checkpoints(run / "checkpoints")
        stack.callback(checkpoints.close)
        # Every device needs the programs' tables, those of other processes too.
        game = jax.device_put(game, NamedSharding(mesh, PartitionSpec()))
        return _train(config, game, run, mesh, programs, write_best, checkpoints, profile, prepare)


def _train(
    config: Config,
    game: Any,
    run: Path,
    mesh: Mesh,
    programs: tuple[Entry, ...],
    write_best: BestWriter | None,
    checkpoints: Checkpoints,
    profile: bool,
    prepare: Prepare | None,
) -> TrainState:
    iteration = make_iteration(config, game, mesh)
    fingerprints = tuple(entry.fingerprint for entry in programs)
    state, counters = _start(config, game, iteration, checkpoints, fingerprints, prepare)
    first = step = saved_at = int(state.iteration)
    clock = time.perf_counter() - counters.wall_s
    pace = searching = searched = None
    with contextlib.ExitStack() as stack:
        journal = None
        if is_first():
            save_config(config, run / "config.yaml")
            journal = stack.enter_context(Journal(config, run, step, programs, write_best))
        trace = stack.enter_context(_Trace(run / "profile" if profile and journal else None))
        while step < config.train.iterations and not _out_of_time(config, clock):
            trace.at(step - first)
            # Again now and then: with the game as model a search is as fast as the games are.
            if (step - first) % TIMED_EVERY == TIMED:
                searched = _time_search(config, game, iteration, state)
            began = time.perf_counter()
            state, play_metrics = iteration.play(game, state)
            finished = int(play_metrics.pop("finished"))
            played = time.perf_counter()
            if searched is not None:
                # Alone it may take longer than with the rest: the machine is shared, and noisy.
                searching, searched = min(searched / (played - began), 1.0), None
            state, learn_metrics = iteration.learn(game, state)
            measured = jax.device_get(play_metrics | learn_metrics)
            ended = time.perf_counter()
            step += 1
            if measured.pop("diverged"):
                raise TrainingDiverged(
                    f"{run}: iteration {step}: the loss or its gradient is not finite; the "
                    f"checkpoint of iteration {checkpoints.latest() or 0} is intact; start another "
                    "run with a lower learner.learning_rate"
                )
            counters = Counters(
                moves=counters.moves + config.rollout.games * config.rollout.moves,
                games=counters.games + finished,
                wall_s=ended - clock,
                programs=fingerprints,
            )
            # The first iteration compiles: it says nothing about the time that is left.
            pace = _smooth(pace, ended - began) if step > first + 1 else None
            if journal:
                times = _Times(began, played, ended, searching, _left(config, step, counters, pace))
                _report(config, journal, step, counters, measured, state, times)
            if step % config.train.checkpoint_every == 0:
                checkpoints.save(step, state, counters)
                saved_at = step
        if step > saved_at:
            checkpoints.save(step, state, counters)
    return state


@dataclasses.dataclass(frozen=True)
class _Times:
    """An iteration's times in seconds: when it began, had played and ended, and what is left of the
    training; searching: the share of the play that its searches take (None: not known)."""

    began: float
    played: float
    ended: float
    searching: float | None
    left: float | None


def _time_search(config: Config, game: Any, iteration: Iteration, state: TrainState) -> float:
    """Seconds that an iteration spends in searches, from some of them alone."""
    count = min(8, config.rollout.moves)
    timings = []
    for _ in range(3):  # the first one compiles
        began = time.perf_counter()
        jax.block_until_ready(iteration.search(game, state, count))
        timings.append(time.perf_counter() - began)
    return min(timings) / count * config.rollout.moves


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
    game: Any,
    iteration: Iteration,
    checkpoints: Checkpoints,
    programs: tuple[str, ...],
    prepare: Prepare | None,
) -> tuple[TrainState, Counters]:
    latest = checkpoints.latest()
    if latest is None:
        key = jax.random.key_data(jax.random.key(config.seed))
        state, counters = iteration.init(game, key), Counters(programs=programs)
        if prepare:
            state = prepare(state)
            checkpoints.save(0, state, counters)
        return state, counters
    state, counters = checkpoints.restore(latest, iteration.abstract_state)
    if counters.programs != programs:
        raise InputError(
            f"the run's checkpoint was made with other programs "
            f"({', '.join(counters.programs) or 'none'}; now {', '.join(programs) or 'none'})"
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


def _report(
    config: Config,
    journal: Journal,
    step: int,
    counters: Counters,
    measured: dict[str, Any],
    state: TrainState,
    times: _Times,
) -> None:
    best, duration = np.asarray(state.best.saved), times.ended - times.began
    rate = config.rollout.games * config.rollout.moves / duration
    play_share = (times.played - times.began) / duration
    returns = measured.pop("return_by_program")
    line = {
        "step": step,
        "wall_s": counters.wall_s,
        "games": counters.games,
        "moves": counters.moves,
        "best_saved": float(np.mean(best)) if np.all(np.isfinite(best)) else None,
        "typical_advantage": float(state.typical_advantage),
        "moves_per_s": rate,
        "simulations_per_s": rate * config.search.simulations,
        "updates_per_s": config.learner.updates / duration,
        "play_share": play_share,
        "search_share": None if times.searching is None else times.searching * play_share,
    }
    for name, value in measured.items():
        line[name] = float(value) if math.isfinite(value) else None
    line["left_s"] = times.left
    journal.write(line, returns, best)
    length = state.best.length
    journal.write_improved(best, lambda p: np.asarray(state.best.log[p, : int(length[p])]))


@contextmanager
def _claim(run: Path, config: Config) -> Iterator[None]:
    """Makes sure that the folder is this run's and nobody else's."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run}: is no folder")
    if (run / "config.yaml").exists():
        stored = load_config(run / "config.yaml")
        if keys := differences(stored, config):
            raise InputError(
                f"{run}: belongs to a run with another config ({', '.join(keys)}); "
                "choose another name or remove the folder"
            )
    elif run.exists() and any(not p.name.startswith(".") for p in run.iterdir()):
        raise InputError(f"{run}: is no training run (it has no config.yaml), and is not empty")
    run.mkdir(parents=True, exist_ok=True)
    with open(run / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{run}: another process is training there") from None
        if not (run / "config.yaml").exists():  # first of all, so that a killed run is recognised
            save_config(config, run / "config.yaml")
        yield
