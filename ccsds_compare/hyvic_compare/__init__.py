"""Comparison of codecs: measures, reports and the demonstration."""
