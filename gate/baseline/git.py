"""The repository around a folder, asked through the user's own git."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_SECONDS = 120


class GitError(Exception):
    """git is not there, or refused; the message is for the user."""


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder`` and return what it prints, line ends included.

    Raises:
        GitError: it cannot be run, fails, or takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603 - git, with arguments of our own and no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git cannot be run: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise GitError(f"{folder}: git {arguments[0]}: {said}")
    return done.stdout
