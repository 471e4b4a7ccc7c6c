"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: Collection[int] = (0,)) -> str:
    r"""Return a table without a final line end.

    >>> print(markdown_table(["scene", "PSNR"], [["a|b", "40.1"]]))
    | scene | PSNR |
    |:--|--:|
    | a\|b | 40.1 |

    Args:
        headings: names of the columns.
        rows: cells of each row.
        left: numbers of the columns that are aligned to the left; the others are aligned to the right.
    """
    alignments = "|".join(":--" if column in left else "--:" for column in range(len(headings)))
    lines = [f"| {' | '.join(headings)} |", f"|{alignments}|"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)])
