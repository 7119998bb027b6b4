"""Programs and schedules as data: the language, dataflow, annotations and their conflicts."""
