"""Histories: versions in their order, commits along the first parents."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gate.upgrade.history import NoHistoryError, commits_between, ordered_versions, subject

LISTED = ["1.10.0", "1.9.2", " 1.9.10", "1.9.3rc1", "2.0.0", "1.8.0"]


def test_versions_are_ordered_as_versions_without_pre_releases() -> None:
    assert ordered_versions("p", LISTED, "1.9.2", "2.0.0") == ["1.9.2", "1.9.10", "1.10.0", "2.0.0"]


def test_the_older_end_may_be_the_bad_one() -> None:
    assert ordered_versions("p", LISTED, "1.10.0", "1.9.2") == ["1.10.0", "1.9.10", "1.9.2"]


def test_a_pre_release_counts_where_it_is_an_end() -> None:
    assert ordered_versions("p", LISTED, "1.9.3rc1", "1.10.0")[0] == "1.9.3rc1"


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("1.7.0", "2.0.0", "there is no version 1.7.0; newest: 2.0.0, 1.10.0"),
        ("1.8.0", "1.8.0", "the same"),
        ("old", "2.0.0", "old"),
    ],
)
def test_ends_that_cannot_be(good: str, bad: str, said: str) -> None:
    with pytest.raises(NoHistoryError, match=said):
        ordered_versions("p", LISTED, good, bad)


def _git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commits_along_the_first_parents(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "-b", "main")
    for name in ("one", "two"):
        _git(tmp_path, "commit", "-q", "--allow-empty", "-m", name)
    _git(tmp_path, "switch", "-q", "-c", "side")
    _git(tmp_path, "commit", "-q", "--allow-empty", "-m", "beside")
    _git(tmp_path, "switch", "-q", "main")
    _git(tmp_path, "commit", "-q", "--allow-empty", "-m", "three")
    _git(tmp_path, "merge", "-q", "--no-ff", "-m", "merged", "side")
    found = commits_between(tmp_path, "HEAD~2", "HEAD")
    assert [subject(tmp_path, c).partition(" ")[2] for c in found] == ["two", "three", "merged"]
    with pytest.raises(NoHistoryError, match="is no ancestor"):
        commits_between(tmp_path, "HEAD", "HEAD~2")
    with pytest.raises(NoHistoryError, match="nowhere"):
        commits_between(tmp_path, "nowhere", "HEAD")
