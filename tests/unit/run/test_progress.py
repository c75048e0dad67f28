from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from gate.core.case import Plan
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.run.events import (
    CaseFinished,
    CaseStarted,
    Event,
    Said,
    StageEntered,
    StageProgress,
    Waiting,
)
from gate.run.output import last_of
from gate.run.progress import Live, Plain, Quiet, display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def events(planned: Callable[..., Plan]) -> list[Event]:
    (case,) = planned().cases
    failure = RunFailure(kind="timeout", stage="layers", message="m")
    return [
        CaseStarted(case_id=case.id, index=0, total=2),
        StageEntered(case_id=case.id, stage="numerical"),
        StageProgress(case_id=case.id, stage="numerical", done=3, total=9),
        Waiting(case_id=case.id, reason="another case is being timed"),
        Waiting(case_id=case.id, reason=""),
        Waiting(case_id=case.id, reason="another case is being timed"),
        CaseFinished(result=CaseResult(case=case, failure=failure), seconds=1.25),
        CaseFinished(result=CaseResult(case=case, skipped="no torch"), seconds=0.0),
    ]


def test_plain_lines_need_no_terminal(events: list[Event]) -> None:
    stream = io.StringIO()
    with Plain(stream) as show:
        for event in events:
            show(event)
    assert stream.getvalue().splitlines() == [
        "[1/2] case/dyn@ort: started",
        "case/dyn@ort: waits: another case is being timed",
        "case/dyn@ort: timeout in stage layers (1.2 s)",
        "case/dyn@ort: skipped: no torch (0.0 s)",
    ]


def test_a_terminal_shows_cases_and_stages(events: list[Event]) -> None:
    stream = Terminal()
    with Live(stream) as show:
        for event in events[:3]:
            show(event)
        show.refresh()
        shown = stream.getvalue()
        for event in events[3:]:
            show(event)
    assert "[1/2] case/dyn@ort" in shown
    assert "numerical" in shown


def test_what_a_worker_says_is_shown_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(case_id="a/b@c", text="[bold] cannot be certified")
    for stream in (io.StringIO(), Terminal()):
        show = Live(stream) if stream.isatty() else Plain(stream)
        with show:
            show(CaseStarted(case_id="a/b@c", index=0, total=1))
            show(said)
        assert "a/b@c: [bold] cannot be certified" in stream.getvalue()


def test_the_display_fits_its_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert type(display(quiet=True, stream=Terminal())) is Quiet
    assert type(display(quiet=False, stream=Terminal())) is Live
    assert type(display(quiet=False, stream=io.StringIO())) is Plain
    monkeypatch.setenv("CI", "true")
    assert type(display(quiet=False, stream=Terminal())) is Plain


def test_quoted_output_has_no_controls_and_no_markers() -> None:
    text = "a\x1b[31mb\x1b]0;title\x07c\r\nprogress\rdone\n    ^^^^~~^^\n\x00end  \n\n"
    assert last_of(text).splitlines() == ["abc", "progress", "done", "end"]
