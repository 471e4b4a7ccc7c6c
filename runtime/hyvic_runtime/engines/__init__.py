"""Libraries that run a graph."""
