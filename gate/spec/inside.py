"""Whether a file that a spec names lies in the repository that the spec came with."""

from __future__ import annotations

import os


def leaves_repository(path: str, spec: str) -> str:
    """Why ``path`` lies outside the repository of the file ``spec``; empty where it does not, or where
    ``spec`` lies in none.

    The repository is the nearest folder at or above the spec with an entry ``.git``: what a pull
    request can change. Links are followed, in the path and in the repository's own.
    """
    root = _repository(os.path.dirname(os.path.abspath(spec)))  # noqa: PTH100, PTH120 names, not files
    if root is None:
        return ""
    real = os.path.realpath(root)
    if _below(os.path.realpath(path), real):
        return ""
    absolute = os.path.abspath(path)  # noqa: PTH100 keep links
    if _below(absolute, root) or _below(absolute, real):
        return "is a link out of the repository"
    return "lies outside the repository"


def _repository(folder: str) -> str | None:
    while not os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118 names, not files
        above = os.path.dirname(folder)  # noqa: PTH120 as above
        if above == folder:
            return None
        folder = above
    return folder


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
