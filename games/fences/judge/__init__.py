"""The judge: which schedules are right, and what they cost. It knows nothing of the game."""

from games.fences.judge.verdict import Judged, judge_schedule, judge_text

__all__ = ["Judged", "judge_schedule", "judge_text"]
