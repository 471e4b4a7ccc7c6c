"""How each model family is exported."""
