"""Scenes: samples, files, place, marks and tiles."""
