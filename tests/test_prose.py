"""The rules of English that a test can hold (STYLE.md): every docstring, comment and message of the packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from scenes import ROOT

MODULES = sorted(p for root in ("runtime", "train", "export", "ccsds_compare") for p in (ROOT / root).rglob("*.py"))
FIRST_WORD = re.compile(r"(Of|Those|That|What|As|In|Likewise)\b")
ATTRIBUTE = re.compile(r"^ +[\w, *]+: (of|that|those|likewise)\b", re.MULTILINE | re.IGNORECASE)
INVALID = re.compile(r"\b(is|are) none\b")
AFTER = re.compile(r"\bbehind\b", re.IGNORECASE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_english_is_plain(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    strings = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    # A string that stands alone is a docstring, of a definition or of the constant above it.
    docstrings = [
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    comments = [(n, line) for n, line in enumerate(text.splitlines(), 1) if "#" in line]
    found = [f"{n}: begins with {d.split()[0]!r}" for n, d in docstrings if FIRST_WORD.match(d.strip())]
    found += [f"{n}: {match[0].strip()!r}" for n, d in docstrings for match in ATTRIBUTE.finditer(d)]
    found += [f"{n}: say 'invalid' for {match[0]!r}" for n, s in strings + comments for match in INVALID.finditer(s)]
    found += [f"{n}: say 'after' for 'behind'" for n, s in strings + comments if AFTER.search(s)]
    assert not found, "\n".join(found)


def test_english_is_plain_on_the_page_of_a_comparison() -> None:
    template = (ROOT / "ccsds_compare/hyvic_compare/report/page.html").read_text(encoding="utf-8")
    text = re.sub(r"\{[{%].*?[%}]\}", "", template, flags=re.DOTALL)
    assert [match[0] for rule in (INVALID, AFTER) for match in rule.finditer(text)] == []
