"""Encodes a stored scene on board, at a quality or within a budget."""
