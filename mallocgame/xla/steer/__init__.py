"""The way back: a mapping becomes options of the compiler."""
