"""The judge: replays the events of a schedule, and shares no code with the game."""

from games.cores.judge.replay import Judged, Span, judge

__all__ = ["Judged", "Span", "judge"]
