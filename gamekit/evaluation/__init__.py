"""Evaluations: solvers and a trained agent on the instances of a game, judged, row by row."""
