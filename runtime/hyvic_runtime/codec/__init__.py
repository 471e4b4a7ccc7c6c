"""Parts that all codec families share; this package knows no family."""
