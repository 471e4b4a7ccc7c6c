"""Range checks that every configuration shares; each returns one line per impossible value."""

from __future__ import annotations


def outside(config: object, least: float, most: float, *names: str) -> list[str]:
    """Name the fields that lie outside `least` … `most`."""
    values = {name: getattr(config, name) for name in names}
    return [f"{n} is {v}; it must lie in {least}..{most}" for n, v in values.items() if not least <= v <= most]


def not_positive(config: object, *names: str) -> list[str]:
    """Name the fields that are not positive."""
    values = {name: getattr(config, name) for name in names}
    return [f"{n} is {v}; it must be positive" for n, v in values.items() if v <= 0]


def refuse(problems: list[str]) -> None:
    """Raise ValueError with all problems, if there are any."""
    if problems:
        raise ValueError("; ".join(problems))
