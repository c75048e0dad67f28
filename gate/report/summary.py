"""The job summary of GitHub Actions: appended to what earlier commands of the step have written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.core.case import NotApplicable
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.report import markdown

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Environment variable that names the step's file."""
LEAST_BYTES = 2048


def append(
    path: Path,
    verdicts: Sequence[Verdict],
    results: Sequence[CaseResult],
    *,
    not_applicable: Sequence[NotApplicable] = (),
    max_bytes: int = markdown.MAX_BYTES,
) -> None:
    """Add the Markdown report to ``path``, cut at whole rows so that the file stays within
    ``max_bytes``: GitHub refuses a larger one as a whole.

    Raises:
        OSError: the file cannot be read or written.
    """
    there = path.stat().st_size if path.exists() else 0
    room = max_bytes - there - 1
    if room < LEAST_BYTES:
        raise OSError(f"{there} bytes are there already, which leaves no room for a report")
    text = markdown.render(verdicts, results, not_applicable=not_applicable, max_bytes=room)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"\n{text}" if there else text)
