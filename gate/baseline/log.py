"""A case's baselines over the commits of the repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gate.baseline.errors import BaselineError
from gate.baseline.git import GitError, git
from gate.baseline.text import parse
from gate.core.baseline import Baseline

_FORMAT = "%H%x00%cI%x00%s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One state of a baseline file; the working tree's last where it was changed."""

    path: str
    """Below the repository's top."""
    commit: str | None
    """None for the working tree."""
    date: str
    """ISO 8601, of the commit; of the acceptance for the working tree."""
    subject: str
    """Of the commit."""
    baseline: Baseline | None
    """None where the file was deleted, or what it held was no baseline that can be read."""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One metric's value at one state."""

    at: Accepted
    value: float


def history(path: Path) -> list[Accepted]:
    """Every state of a baseline file that was committed, oldest first, and the working tree's.

    Raises:
        BaselineError: the file is in no git repository, or git fails.
    """
    try:
        top = Path(git(path.parent, "rev-parse", "--show-toplevel").strip())
        inside = path.resolve().relative_to(top.resolve()).as_posix()
        told = git(top, "log", "--reverse", f"--format={_FORMAT}", "--", inside)
    except GitError as error:
        raise BaselineError(str(error)) from None
    states = [_state(top, inside, *line.split("\0", 2)) for line in told.splitlines()]
    now = _working_tree(path, inside)
    if now is not None and (not states or states[-1].baseline != now.baseline):
        states.append(now)
    return states


def series(states: list[Accepted], metric: str) -> dict[tuple[str, str, str], list[Point]]:
    """Values of ``metric`` (or ``tier.metric``) over ``states``, by (tier.metric, subject, unit)."""
    found: dict[tuple[str, str, str], list[Point]] = {}
    for state in states:
        for value in state.baseline.values if state.baseline is not None else ():
            name = f"{value.tier}.{value.metric}"
            if metric in (value.metric, name):
                key = (name, value.subject, value.unit)
                found.setdefault(key, []).append(Point(at=state, value=value.value))
    return found


def metrics(states: list[Accepted]) -> Iterator[str]:
    """Names of all metrics that any state has."""
    seen = {
        f"{value.tier}.{value.metric}"
        for state in states
        if state.baseline is not None
        for value in state.baseline.values
    }
    yield from sorted(seen)


def _state(top: Path, inside: str, commit: str, date: str, subject: str) -> Accepted:
    def state(baseline: Baseline | None, fault: str = "") -> Accepted:
        return Accepted(
            path=inside, commit=commit, date=date, subject=subject, baseline=baseline, fault=fault
        )

    try:
        text = git(top, "show", f"{commit}:{inside}")
    except GitError:
        return state(None, "deleted")
    try:
        return state(parse(text))
    except BaselineError as error:
        return state(None, str(error))


def _working_tree(path: Path, inside: str) -> Accepted | None:
    try:
        baseline = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, BaselineError) as error:
        return Accepted(
            path=inside, commit=None, date="", subject="", baseline=None, fault=str(error)
        )
    return Accepted(
        path=inside,
        commit=None,
        date=baseline.provenance.date,
        subject="(not committed)",
        baseline=baseline,
    )
