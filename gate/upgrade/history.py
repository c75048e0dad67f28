"""Histories to search: the versions of a package, the commits of the repository."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from packaging.version import InvalidVersion, Version

from gate.baseline.git import GitError, git

_VERSION_LINE = re.compile(r"^Available versions: (.*)$", re.MULTILINE)
INDEX_SECONDS = 120


class NoHistoryError(Exception):
    """A history that cannot be had; the message is for the user."""


def versions_between(package: str, good: str, bad: str, *, python: Path) -> list[str]:
    """Released versions from ``good`` to ``bad``, both included, oldest first; pre-releases are left
    out unless an end is one.

    Raises:
        NoHistoryError: the package index does not answer, or an end is not among its versions.
    """
    command = [
        str(python),
        "-m",
        "pip",
        "index",
        "versions",
        package,
        "--disable-pip-version-check",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - pip of an interpreter that the user named
            command, capture_output=True, text=True, timeout=INDEX_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoHistoryError(f"{package}: its versions cannot be asked for: {error}") from error
    match = _VERSION_LINE.search(done.stdout)
    if match is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NoHistoryError(
            f"{package}: the package index lists no versions ({said}); give them: --versions A,B,C"
        )
    return ordered_versions(package, match[1].split(","), good, bad)


def ordered_versions(package: str, listed: Sequence[str], good: str, bad: str) -> list[str]:
    """The part of ``listed`` from ``good`` to ``bad``, oldest first; where the older end is the bad
    one, newest first.

    Raises:
        NoHistoryError: an end is no version or is not listed, or both are the same.
    """
    try:
        ends = Version(good), Version(bad)
        known = {Version(text.strip()): text.strip() for text in listed if text.strip()}
    except InvalidVersion as error:
        raise NoHistoryError(f"{package}: {error}") from None
    for end in ends:
        if end not in known:
            newest = ", ".join(str(v) for v in sorted(known, reverse=True)[:8])
            raise NoHistoryError(f"{package}: there is no version {end}; newest: {newest}")
    if ends[0] == ends[1]:
        raise NoHistoryError(f"{package}: the good and the bad version are the same")
    low, high = min(ends), max(ends)
    wanted = [v for v in sorted(known) if low <= v <= high and (v in ends or not v.is_prerelease)]
    return [str(v) for v in (wanted if ends[0] < ends[1] else reversed(wanted))]


def commits_between(repository: Path, good: str, bad: str) -> list[str]:
    """Commits from ``good`` to ``bad``, both included, along first parents, oldest first.

    Raises:
        NoHistoryError: no repository, unknown commits, or ``good`` is no ancestor of ``bad``.
    """
    first, last = (_commit(repository, name) for name in (good, bad))
    line = git(repository, "rev-list", "--first-parent", "--reverse", f"{first}..{last}").split()
    if not line or git(repository, "merge-base", first, last).strip() != first:
        raise NoHistoryError(f"{good} is no ancestor of {bad}: there are no commits between them")
    return [first, *line]


def _commit(repository: Path, name: str) -> str:
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
    except GitError:
        raise NoHistoryError(f"{name}: is no commit of {repository}") from None


def subject(repository: Path, commit: str) -> str:
    """``<short hash> <subject>`` of a commit."""
    return git(repository, "log", "-1", "--format=%h %s", commit).strip()
