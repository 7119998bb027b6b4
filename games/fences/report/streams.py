"""A schedule as two streams over time, as text and as a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gamekit.pictures import save_picture
from games.fences.program.program import DEVICE_NAMES, Program
from games.fences.program.schedule import Fence, Schedule, Sync


@dataclasses.dataclass(frozen=True)
class Bar:
    """An entry of a stream under one outcome: [begin, end) in units of time."""

    label: str
    kind: str
    begin: float
    end: float


@dataclasses.dataclass(frozen=True)
class Timeline:
    """bars: of CPU and GPU. fences: by name the device and the time of the fence, and the end of
    the sync on it."""

    bars: tuple[list[Bar], list[Bar]]
    fences: dict[str, tuple[int, float, float]]

    @property
    def end(self) -> float:
        return max((bar.end for stream in self.bars for bar in stream), default=0.0)


def timeline(program: Program, schedule: Schedule, outcome: int = -1) -> Timeline:
    """When everything happens under one outcome, by its number: as it stands, all conditions are
    true. The schedule has to keep the rules."""
    bars: tuple[list[Bar], list[Bar]] = ([], [])
    fences: dict[str, tuple[int, float, float]] = {}
    clock, at = [0.0, 0.0], [0, 0]
    while any(at[d] < len(schedule.streams[d]) for d in (0, 1)):
        for device in (0, 1):
            while at[device] < len(schedule.streams[device]):
                entry = schedule.streams[device][at[device]]
                if isinstance(entry, Sync) and entry.name not in fences:
                    break
                begin = clock[device]
                if isinstance(entry, Fence):
                    fences[entry.name] = (device, begin, begin)
                    bars[device].append(Bar(f"--- {entry.name}", "fence", begin, begin))
                elif isinstance(entry, Sync):
                    of, when, _ = fences[entry.name]
                    clock[device] = max(begin, when + program.weights.latency)
                    fences[entry.name] = (of, when, clock[device])
                    bars[device].append(Bar(f"sync({entry.name})", "sync", begin, clock[device]))
                elif program.runs[entry.operation][outcome]:
                    op = program.operations[entry.operation]
                    clock[device] += op.time(device)
                    bars[device].append(Bar(str(op.item), "run", begin, clock[device]))
                at[device] += 1
    return Timeline(bars, fences)


def as_text(program: Program, schedule: Schedule) -> str:
    """Both streams, a line an entry: when it begins and ends, and what it is."""
    times = timeline(program, schedule)
    conditions = ", ".join(f"{name} is true" for name in program.conditions)
    head = f"{'time':>15}  {'CPU':<24}GPU" + (f"    (where {conditions})" if conditions else "")
    rows = [(bar.begin, bar.end, d, n, bar) for d in (0, 1) for n, bar in enumerate(times.bars[d])]
    lines = [head]
    for begin, end, device, _, bar in sorted(rows, key=lambda row: row[:4]):
        label = bar.label if device == 0 else f"{'':<24}{bar.label}"
        lines.append(f"{begin:>7g} {end:>7g}  {label}".rstrip())
    return "\n".join(lines) + "\n"


def draw(program: Program, schedule: Schedule, path: Path, title: str) -> None:
    """Writes a picture of both streams, with an arrow from every fence to its sync.

    Raises:
      InputError: the file cannot be written, or its ending is not that of a picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    times = timeline(program, schedule)
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    colors = {"run": "#4c78a8", "sync": "#e0e0e0"}
    for device, stream in enumerate(times.bars):
        for bar in stream:
            width = bar.end - bar.begin
            if bar.kind == "fence":
                axes.plot([bar.begin] * 2, [-device - 0.4, -device + 0.4], color="#d62728", lw=2)
            elif width > 0:
                axes.barh(-device, width, 0.6, bar.begin, color=colors[bar.kind], edgecolor="white")
            if bar.kind == "run":
                # A `$` in a name would begin a formula; names of the language have none.
                axes.text(bar.begin + width / 2, -device, bar.label, ha="center", va="center")
    for name, (device, begin, end) in times.fences.items():
        axes.annotate(
            name,
            xy=(end, -(1 - device) + (0.3 if device == 0 else -0.3)),
            xytext=(begin, -device - (0.4 if device == 0 else -0.4)),
            arrowprops={"arrowstyle": "->", "color": "#d62728"},
            color="#d62728",
            ha="center",
        )
    axes.set_yticks([0, -1], DEVICE_NAMES)
    axes.set_ylim(-1.6, 0.6)
    axes.set_xlabel("time")
    axes.set_title(title)
    save_picture(figure, path)
