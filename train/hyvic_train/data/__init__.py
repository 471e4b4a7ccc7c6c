"""Data sets: scenes and patches to training crops."""
