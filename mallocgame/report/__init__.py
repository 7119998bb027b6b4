"""Results for readers: statistics, tables, pictures of mappings and suites, one HTML page."""

from mallocgame.report.html import ProgramPictures, write_report
from mallocgame.report.layout_picture import DrawnMapping, draw_layouts
from mallocgame.report.statistics import summarize
from mallocgame.report.tables import markdown, print_results, result_tables

__all__ = [
    "DrawnMapping",
    "ProgramPictures",
    "draw_layouts",
    "markdown",
    "print_results",
    "result_tables",
    "summarize",
    "write_report",
]
