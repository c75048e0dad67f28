"""Writes what ladders and searches of a run came to, beside its results."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from gate.core.case import Case
from gate.core.choice import Choice
from gate.core.result import CaseResult
from gate.run.job import write_text
from gate.run.reproductions import shown
from gate.run.store import choice_path


def write_choices(results: Sequence[CaseResult], run_dir: Path) -> list[str]:
    """Write the fragment of every choice of a run, and the picture of a search's front; one line
    each says where.

    Raises:
        OSError: a file cannot be written.
    """
    observed = ((r.case, r.observation) for r in results if r.observation is not None)
    chosen = [(case, seen.choice) for case, seen in observed if seen.choice is not None]
    if not chosen:
        return []
    from gate.report.choice import fragment

    told = []
    for case, choice in chosen:
        file = choice_path(run_dir, case.id).absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, fragment(case, choice))
        also = _pictured(case, choice, file.with_suffix(".svg"))
        name = choice.taken.name
        taken = f"{choice.how} chose {name}" + (
            "" if name == choice.method else f" ({choice.method})"
        )
        told.append(f"{case.id}: {taken}: {shown(file)}{also}")
    return told


def _pictured(case: Case, choice: Choice, file: Path) -> str:
    if choice.how != "search":
        return ""
    if find_spec("markupsafe") is None:
        return " (no picture of its front: pip install 'quantgate[html]')"
    from gate.report.choice_picture import svg

    write_text(file, svg(case, choice))
    return f" (its front: {file.name})"
