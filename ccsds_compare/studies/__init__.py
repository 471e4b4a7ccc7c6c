"""Measurements behind docs/results; not in the wheel."""
