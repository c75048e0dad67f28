"""The history of a baseline: what git remembers, and what the working tree adds."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gate.baseline.errors import BaselineError
from gate.baseline.log import history, metrics, series
from gate.baseline.store import BaselineStore
from gate.core.baseline import Baseline
from gate.report.history import terminal
from gate.report.history_picture import svg
from tests.unit.judge.builders import baseline


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def _state(sqnr_db: float, reason: str) -> Baseline:
    built = baseline()
    values = tuple(
        replace(v, value=sqnr_db) if (v.metric, v.subject) == ("sqnr", "output") else v
        for v in built.values
    )
    return replace(built, values=values, provenance=replace(built.provenance, reason=reason))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two committed states, one that was deleted, a damaged one, and one in the working tree."""
    _git(tmp_path, "init", "-q", "-b", "main")
    store = BaselineStore(tmp_path / "baselines")
    for value, reason in ((31.0, "first"), (29.5, "other <kernels>")):
        (place,) = store.write_all([_state(value, reason)])
        _git(tmp_path, "add", "-A")
        _git(tmp_path, "commit", "-q", "-m", reason)
    place.unlink()
    _git(tmp_path, "commit", "-q", "-am", "by mistake")
    place.write_text("{}")
    _git(tmp_path, "add", "-A")
    _git(tmp_path, "commit", "-q", "-m", "by hand")
    store.write_all([_state(33.25, "restored")])
    return place


def test_every_state_is_there_in_order(path: Path) -> None:
    states = history(path)
    assert [s.subject for s in states] == [
        *("first", "other <kernels>", "by mistake", "by hand", "(not committed)")
    ]
    assert [s.baseline is not None for s in states] == [True, True, False, False, True]
    assert states[2].fault == "deleted"
    assert "digest does not fit" in states[3].fault
    assert states[-1].commit is None


def test_a_metric_over_the_states(path: Path) -> None:
    states = history(path)
    for name in ("sqnr", "numerical.sqnr"):
        found = series(states, name)
        points = found["numerical.sqnr", "output", "dB"]
        assert [p.value for p in points] == [31.0, 29.5, 33.25]
    assert "device.size" in list(metrics(states))
    assert series(states, "no-such") == {}


def test_a_working_tree_as_committed_adds_nothing(path: Path) -> None:
    top = path.parents[3]
    _git(top, "add", "-A")
    _git(top, "commit", "-q", "-m", "restore")
    states = history(path)
    assert states[-1].subject == "restore"
    assert len(states) == 5


def test_as_a_table_and_as_a_picture(path: Path) -> None:
    found = series(history(path), "numerical.sqnr")
    table = terminal(found)
    lines = [line for line in table.splitlines() if "#" in line]
    assert [line.count("#") for line in lines] == [10, 1, 24]
    assert "29.5 dB" in lines[1]
    assert "(new)" in lines[2]
    picture = ET.fromstring(svg("digits/<x>", found))  # noqa: S314 - written just here
    space = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{space}svg"
    titles = [t.text for t in picture.iter(f"{space}title")]
    assert len(titles) == 3
    assert "other <kernels>" in str(titles[1])


@pytest.mark.parametrize("commits", [1, 2, 9, 10, 15, 18, 100])
def test_dates_below_a_picture_do_not_run_into_each_other(path: Path, commits: int) -> None:
    found = {
        key: [points[0]] * (commits - 1) + [points[-1]]
        for key, points in series(history(path), "numerical.sqnr").items()
    }
    picture = ET.fromstring(svg("digits/x", found))  # noqa: S314 - written just here
    texts = [
        t for t in picture.iter() if t.tag.endswith("text") and t.get("text-anchor") == "middle"
    ]
    dates = sorted(float(t.get("x", "")) for t in texts if (t.text or "").startswith("20"))
    assert all(after - before >= 70.0 for before, after in pairwise(dates))
    last = max(float(t.get("cx", "")) for t in picture.iter() if t.tag.endswith("circle"))
    assert dates[-1] == last
    assert len(dates) >= min(commits, 5)


def test_outside_a_repository(tmp_path: Path) -> None:
    (place,) = BaselineStore(tmp_path / "baselines").write_all([baseline()])
    with pytest.raises(BaselineError, match="not a git repository"):
        history(place)
