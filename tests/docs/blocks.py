"""Fenced blocks of Markdown pages: their language, their text, and whether they are to be executed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        *(ROOT / ".github").glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
    )
    if "decisions" not in path.parts
)
_MARK = re.compile(r"<!-- not executed: (?P<reason>.+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    not_executed: str
    """Why, where the page says so in a comment just before; else empty."""

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Words of each command, without comments; lines that end in a backslash go on."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    start, language, lines, reason, indent = 0, "", [], "", 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        stripped = line.strip()
        if start:
            if stripped == "```":
                text = "".join(f"{inner[indent:]}\n" for inner in lines)
                found.append(
                    Block(page=page, line=start, language=language, text=text, not_executed=reason)
                )
                start, lines, reason = 0, [], ""
            else:
                lines.append(line)
        elif stripped.startswith("```"):
            start, language, indent = number, stripped[3:], len(line) - len(line.lstrip())
        elif marked := _MARK.fullmatch(stripped):
            reason = marked["reason"]
        elif stripped:
            reason = ""
    assert not start, f"{page}:{start}: the block has no end"
    return found


ALL = [block for page in PAGES for block in blocks_of(page)]
