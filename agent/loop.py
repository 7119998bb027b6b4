"""The training loop on the host: resumes, iterates, writes metrics, checkpoints and mappings."""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from tensorboardX import SummaryWriter

from agent.checkpoint import Checkpoints, Counters
from agent.config import Config, differences, load_config, save_config
from agent.errors import TrainingDiverged
from agent.learner import AXIS, Iteration, TrainState, make_iteration
from agent.progress import Progress
from mallocgame.jsonfile import InputError

MAX_CPU_DEVICES = 8
# Wall-clock figures: a resumed run repeats all others exactly.
PROFILED = (2, 5)
CLOCK_FIELDS = ("wall_s", "moves_per_s", "simulations_per_s", "play_share", "left_s")

# Called with a program's number, its best moves and the fraction they save.
BestWriter = Callable[[int, np.ndarray, float], None]
# Called with the state of a run that begins; what it returns is stored as iteration 0.
Prepare = Callable[[TrainState], TrainState]


def make_mesh(config: Config) -> Mesh:
    """One axis over the devices. On a CPU host two forced devices use two cores better than one.

    Must be called before anything else touches jax's devices.

    Raises:
      InputError: games or batch cannot be divided among the devices asked for.
    """
    games, batch = config.rollout.games, config.learner.batch_size
    wanted = config.train.devices
    cores = min(len(os.sched_getaffinity(0)), MAX_CPU_DEVICES)
    limit = wanted or cores
    jax.config.update("jax_num_cpu_devices", _divisor(limit, games, batch))
    available = len(jax.devices())
    if wanted and (games % wanted or batch % wanted or available < wanted):
        raise InputError(
            f"train.devices: {wanted} devices cannot share rollout.games = {games} and "
            f"learner.batch_size = {batch} ({available} available)"
        )
    count = _divisor(wanted or available, games, batch)
    return jax.make_mesh(
        (count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
    )


def _divisor(limit: int, *numbers: int) -> int:
    """The largest number up to `limit` that divides all the others."""
    return max(n for n in range(1, limit + 1) if all(number % n == 0 for number in numbers))


def train(
    config: Config,
    game: Any,
    run: Path,
    mesh: Mesh,
    programs: tuple[str, ...] = (),
    write_best: BestWriter | None = None,
    profile: bool = False,
    prepare: Prepare | None = None,
) -> TrainState:
    """Trains, or goes on training, in the folder `run`.

    programs: fingerprints of the programs in `game`.
    profile: traces a few iterations with JAX's profiler, into the folder `profile` of the run.
    prepare: what a new run begins with.

    Raises:
      InputError: the folder belongs to another run, is in use, or its checkpoint is unusable.
      TrainingDiverged: the last checkpoint is from before that.
    """
    with _claim(run, config):
        checkpoints = Checkpoints(run / "checkpoints")
        try:
            return _train(
                config, game, run, mesh, programs, write_best, checkpoints, profile, prepare
            )
        finally:
            checkpoints.close()


def _train(
    config: Config,
    game: Any,
    run: Path,
    mesh: Mesh,
    programs: tuple[str, ...],
    write_best: BestWriter | None,
    checkpoints: Checkpoints,
    profile: bool,
    prepare: Prepare | None,
) -> TrainState:
    iteration = make_iteration(config, game, mesh)
    state, counters = _start(config, game, iteration, checkpoints, programs, prepare)
    first = step = int(state.iteration)
    save_config(config, run / "config.yaml")
    _truncate(run / "metrics.jsonl", step)
    written = np.full(game.num_programs, -np.inf)
    clock = time.perf_counter() - counters.wall_s
    pace = None
    with (
        open(run / "metrics.jsonl", "a") as metrics_file,
        SummaryWriter(str(run / "tensorboard"), purge_step=step + 1) as board,
        Progress(config) as progress,
        _Trace(run / "profile" if profile else None) as trace,
    ):
        saved_at = step
        while step < config.train.iterations and not _out_of_time(config, clock):
            trace.at(step - first)
            began = time.perf_counter()
            state, play_metrics = iteration.play(game, state)
            finished = int(play_metrics.pop("finished"))
            played = time.perf_counter()
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
                programs=programs,
            )
            # The first iteration compiles: it says nothing about the time that is left.
            pace = _smooth(pace, ended - began) if step > first + 1 else None
            line = _metrics(config, step, counters, measured, state, (began, played, ended))
            line["left_s"] = _left(config, step, counters, pace)
            _record(line, metrics_file, board)
            progress.show(line)
            if write_best:
                _write_improved(state, written, write_best)
            if step % config.train.checkpoint_every == 0:
                checkpoints.save(step, state, counters)
                saved_at = step
        if step > saved_at:
            checkpoints.save(step, state, counters)
    return state


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
    return minutes > 0 and time.perf_counter() - clock >= 60 * minutes


def _metrics(
    config: Config,
    step: int,
    counters: Counters,
    measured: dict[str, Any],
    state: TrainState,
    clock: tuple[float, float, float],
) -> dict[str, Any]:
    began, played, ended = clock
    best = np.asarray(state.best.saved)
    rate = config.rollout.games * config.rollout.moves / (ended - began)
    line = {
        "step": step,
        "wall_s": counters.wall_s,
        "games": counters.games,
        "moves": counters.moves,
        "best_saved": float(np.mean(best)) if np.all(np.isfinite(best)) else None,
        "typical_advantage": float(state.typical_advantage),
        "moves_per_s": rate,
        "simulations_per_s": rate * config.search.simulations,
        "play_share": (played - began) / (ended - began),
    }
    for name, value in measured.items():
        line[name] = float(value) if math.isfinite(value) else None
    return line


def _record(line: dict[str, Any], metrics_file: TextIO, board: SummaryWriter) -> None:
    metrics_file.write(json.dumps(line) + "\n")
    metrics_file.flush()
    for name, value in line.items():
        if name != "step" and value is not None:
            board.add_scalar(name, value, line["step"])


def _write_improved(state: TrainState, written: np.ndarray, write_best: BestWriter) -> None:
    """Hands on the best games that are better than what was handed on before."""
    best = np.asarray(state.best.saved)
    # A failed game (-1, only without Drop-backup) has no mapping.
    for program in np.flatnonzero((best > written) & (best > -1)):
        length = int(state.best.length[program])
        write_best(int(program), np.asarray(state.best.log[program, :length]), float(best[program]))
        written[program] = best[program]


def _truncate(path: Path, step: int) -> None:
    """Drops the lines after `step`, which the run is about to repeat, and torn ones."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line + "\n")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(kept))
    temporary.replace(path)


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
