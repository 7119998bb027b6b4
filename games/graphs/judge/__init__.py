"""The judge: verdict and cost of a solution, by the rules of docs/graphs.md."""

from games.graphs.judge.evaluate import Evaluation, evaluate
from games.graphs.judge.violation import Violation

__all__ = ["Evaluation", "Violation", "evaluate"]
