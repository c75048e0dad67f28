"""GitHub's workflow commands: annotations at the line of a spec, within the limits of one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence

from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.report.findings import Finding, Level, findings, in_repository
from gate.report.text import one_line
from gate.spec.diagnostics import Diagnostic

MOST_A_STEP = 10
"""Annotations of one kind that GitHub shows of a step; what is beyond it is dropped unseen."""

_COMMAND = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}
_MOST_CHARACTERS = 4000  # of a message; GitHub cuts at 64 KiB for all of them together


def wanted() -> bool:
    """Whether this runs as a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def render(verdicts: Sequence[Verdict], results: Sequence[CaseResult]) -> str:
    """One command a line; the last of a kind says how many more there are."""
    found = findings(verdicts, results)
    return "".join(_limited(_annotation(f) for f in found if f.level is level) for level in Level)


def render_diagnostics(diagnostics: Sequence[Diagnostic]) -> str:
    """The mistakes of specs, each at its place."""
    return _limited(
        command(
            "error",
            f"{d.path}: {d.message}{f' ({d.hint})' if d.hint else ''}" if d.path else d.message,
            file=in_repository(d.position.file),
            line=d.position.line,
            col=d.position.column,
            title="gate: mistake in a spec",
        )
        for d in diagnostics
    )


def quiet(text: str) -> str:
    """``text`` with workflow commands switched off in it: what a worker printed must command nothing."""
    token = secrets.token_hex(16)
    return f"::stop-commands::{token}\n{text.rstrip()}\n::{token}::\n"


def command(name: str, message: str, **properties: str | int) -> str:
    """``::name key=value,...::message`` and a newline, everything escaped."""
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    cut = one_line(message)
    if len(cut) > _MOST_CHARACTERS:
        cut = f"{cut[: _MOST_CHARACTERS - 3]}..."
    return f"::{name} {given}::{_data(cut)}\n" if given else f"::{name}::{_data(cut)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")


def _annotation(found: Finding) -> str:
    return command(
        _COMMAND[found.level],
        found.message,
        file=found.file,
        line=found.line,
        col=found.column,
        title=f"gate: {found.case_id}",
    )


def _limited(commands: Iterable[str]) -> str:
    lines = list(commands)
    if len(lines) <= MOST_A_STEP:
        return "".join(lines)
    kept = lines[: MOST_A_STEP - 1]
    name = lines[0][2:].partition(" ")[0]
    left = count(len(lines) - len(kept), "more finding")
    return "".join(kept) + command(
        name, f"{left}: the job summary and the report have them all", title="gate"
    )
