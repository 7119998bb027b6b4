"""Results for people: tables, pictures of memory layouts, one HTML page."""

from mallocgame.report.html import write_report
from mallocgame.report.layout import draw_layout
from mallocgame.report.tables import print_results, summarize

__all__ = ["draw_layout", "print_results", "summarize", "write_report"]
