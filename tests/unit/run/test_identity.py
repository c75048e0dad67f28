"""Which of the user's code decides what an entry gives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from gate.run import identity

OPTIONS = {"source": "python", "entry": "nets.small:build"}
FILES = ("nets/small.py", "nets/blocks/conv.py", "losses/__init__.py", "helpers.py")


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Changes a file of a project that trusts ``nets.small``, ``losses`` and ``helpers``."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.gate]\ntrusted = ["nets.small", "losses", "helpers", "not_there"]\n'
    )
    for name in (*FILES, "untrusted.py", "nets/table.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    def changed(name: str) -> object:
        (tmp_path / name).write_text("x = 2\n")
        identity._package_sources.cache_clear()  # another run
        return identity.entry_sources(OPTIONS)

    return changed


def test_code_of_every_trusted_module_counts(change: Callable[[str], object]) -> None:
    before = identity.entry_sources({"deep": [OPTIONS]})
    assert list(before) == ["helpers", "losses", "nets", "not_there"]
    assert before["not_there"] == "absent"
    assert "absent" not in (before["nets"], before["losses"], before["helpers"])
    seen = [before, *(change(name) for name in FILES)]
    assert all(one != other for one, other in pairwise(seen))


def test_other_files_are_not_followed(change: Callable[[str], object]) -> None:
    before = identity.entry_sources(OPTIONS)
    assert change("untrusted.py") == before
    assert change("nets/table.json") == before


def test_no_entry_no_code() -> None:
    assert identity.entry_sources({"source": "onnx", "path": "m.onnx"}) == {}
