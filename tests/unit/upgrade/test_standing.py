"""What makes a kept result stale: a file that the spec names, or code of the user's own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.artifact import Artifact, Format
from gate.core.case import Case
from gate.models.hashing import files_sha256
from gate.run.candidates import keep_candidate
from gate.upgrade.cells import _key
from gate.upgrade.stacks import Stack
from gate.upgrade.standing import standing
from tests.unit.judge.builders import case


def _case(**options: object) -> Case:
    one = case()
    return replace(one, quantization=replace(one.quantization, options=options))


def _later(path: Path, content: bytes) -> None:
    """Written a second later, as an editor would: clocks of file systems are coarse."""
    path.write_bytes(content)
    at = path.stat().st_mtime + 1
    os.utime(path, (at, at))


def test_a_named_file_and_what_lies_beside_it_under_its_name(tmp_path: Path) -> None:
    named, data, other = (tmp_path / name for name in ("m.onnx", "m.onnx.data", "other.onnx"))
    for path in (named, data, other):
        path.write_bytes(b"1")
    one = _case(rungs=[{"path": str(named)}])
    seen = [standing(one)]
    _later(other, b"2")
    assert standing(one) == seen[0]
    for path in (named, data):
        _later(path, b"2")
        seen.append(standing(one))
    assert len(set(seen)) == 3


def test_a_kept_cell_is_of_the_file_as_it_was(tmp_path: Path) -> None:
    named = tmp_path / "m.onnx"
    named.write_bytes(b"1")
    one, stack = _case(path=str(named)), Stack(name="s", python=tmp_path, versions={})
    before = _key(one, stack, None)
    assert _key(one, stack, None) == before
    _later(named, b"2")
    assert _key(one, stack, None) != before


def test_a_kept_cell_is_of_the_candidate_that_was_given(tmp_path: Path) -> None:
    """Another baseline was accepted since: its candidate lies in the same folder."""
    stack, keys = Stack(name="s", python=tmp_path, versions={}), []
    for content in (b"1", b"2", b"1"):
        file = tmp_path / "candidate.pt"
        file.write_bytes(content)
        artifact = Artifact(
            format=Format.TORCH_QUANTIZED,
            path=file,
            sha256=files_sha256([file]),
            size_bytes=1,
            producer="candidate",
        )
        keep_candidate(tmp_path / "kept", case().id, artifact)
        keys.append(_key(case(), stack, tmp_path / "kept"))
    assert keys[0] == keys[2] != keys[1]
    assert _key(case(), stack, tmp_path / "nothing") not in keys


def test_everything_in_a_named_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.png").write_bytes(b"1")
    one = _case(path=str(tmp_path))
    before = standing(one)
    (tmp_path / ".gate").mkdir()
    (tmp_path / ".gate" / "run.json").write_bytes(b"1")
    assert standing(one) == before, "the gate's own folder changes with every run"
    (tmp_path / "below" / "b.png").write_bytes(b"1")
    assert standing(one) != before


def test_code_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["mine"]\n')
    monkeypatch.chdir(tmp_path)
    digests = []
    for folder, text in (("a", "x = 1\n"), ("b", "x = 2\n")):
        home = tmp_path / folder
        home.mkdir()
        (home / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["mine"]\n')
        (home / "mine.py").write_text(text)
        monkeypatch.chdir(home)
        digests.append(standing(_case(entry="mine:x")))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("text", ["/" + "x" * 5000, "/no\0name", "/nowhere", "../m.onnx"])
def test_text_that_is_no_file_is_no_matter(text: str) -> None:
    assert standing(_case(note=text))
