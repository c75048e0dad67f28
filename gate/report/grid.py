"""A plain table by tabulate, no wider than its cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tabulate import SEPARATING_LINE, tabulate


def grid(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> str:
    """Lay out cells (which may hold colours and line ends) under headers with a rule between.

    Columns numbered in ``right`` are set flush right. The headers are given to tabulate as a row,
    since it widens every column that has a header by two.
    """
    text = tabulate(
        [headers, SEPARATING_LINE, *rows],
        tablefmt="simple",
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=["right" if i in right else "left" for i in range(len(headers))],
    )
    # The outer rules add nothing.
    return "\n".join(line.rstrip() for line in text.split("\n")[1:-1])
