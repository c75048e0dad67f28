from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline import store as store_module
from gate.baseline.errors import BaselineError
from gate.baseline.store import BaselineStore
from gate.baseline.text import render
from gate.core.baseline import (
    BaselineBroken,
    BaselineFound,
    BaselineMissing,
    BaselineNotComparable,
)
from tests.unit.judge import builders as build

CASE = "digits/static@torch-x86"
HERE = build.ENVIRONMENT


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path / "baselines")


def test_a_baseline_lies_where_the_design_says_and_is_found_again(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline()])
    assert path == store.root / "digits/static@torch-x86/linux-x86_64-avx2-avx512_vnni.json"
    assert store.lookup(CASE, HERE) == BaselineFound(baseline=build.baseline())
    assert store.check(path) == build.baseline()
    assert [p.name for p in store.root.rglob("*") if p.is_file()] == [path.name]


def test_versions_do_not_make_another_class_but_instruction_sets_do(store: BaselineStore) -> None:
    store.write_all([build.baseline()])
    newer = replace(HERE, versions={"torch": "9"})
    assert isinstance(store.lookup(CASE, newer), BaselineFound)
    older = replace(HERE, isa=("avx2", "sse42"))
    found = store.lookup(CASE, older)
    assert isinstance(found, BaselineNotComparable)
    assert "avx512_vnni not here" in found.reason
    assert "sse42 only here" in found.reason
    arm = replace(HERE, machine="aarch64", isa=("neon",))
    reason = store.lookup(CASE, arm).reason
    assert "machine x86_64 there, aarch64 here" in reason


def test_nothing_recorded_is_missing_and_says_where_it_would_be(store: BaselineStore) -> None:
    found = store.lookup(CASE, HERE)
    assert found == BaselineMissing(path=str(store.path(CASE, HERE)))
    assert store.files() == ()
    assert not store.root.exists()


@pytest.mark.parametrize(
    "case_id",
    ["../../etc/a@b", "digits/..@..", "digits/../../x", ".hidden/.a@b", "a/b/c@d", "ä/ö ü@ß",
     "digits/" + "q" * 400 + "@t", "digits/\x00@t", "..", "digits/a%2Fb@t"],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(store: BaselineStore, case_id: str) -> None:
    baseline = build.baseline(case_id=case_id)
    (path,) = store.write_all([baseline])
    assert path.resolve().is_relative_to(store.root.resolve())
    assert store.lookup(case_id, HERE) == BaselineFound(baseline=baseline)
    assert store.files() == (path,)


def test_different_names_never_share_a_file(store: BaselineStore) -> None:
    ids = ["d/a@b", "d/a%40b", "d/A@b", "d/a@b.", "d/.a@b", "d/%2Ea@b", "d/" + "q" * 400 + "1",
           "d/" + "q" * 400 + "2"]  # fmt: skip
    assert len({store.path(i, HERE) for i in ids}) == len(ids)


def broken(store: BaselineStore) -> str:
    found = store.lookup(CASE, HERE)
    assert isinstance(found, BaselineBroken)
    assert found.path == str(store.path(CASE, HERE))
    assert "gate baseline update" in found.reason
    return found.reason


def test_damaged_files_are_broken_with_a_way_out(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline()])
    whole = path.read_bytes()
    for content, words in (
        (b"", "not valid JSON"),
        (whole[:-40], "not valid JSON"),
        (whole.replace(b"2.5", b"2.4"), "edited or damaged"),
        (b"\xff" + whole, "not UTF-8"),
    ):
        path.write_bytes(content)
        assert words in broken(store)
    path.unlink()
    path.mkdir()
    assert "cannot be read" in broken(store)


def test_a_foreign_file_is_broken(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline()])
    path.write_text(render(build.baseline(case_id="digits/other@torch-x86")), "utf-8")
    assert "it is the baseline of digits/other@torch-x86" in broken(store)
    with pytest.raises(BaselineError, match="belongs to"):
        store.check(path)
    other = replace(HERE, isa=("avx2",))
    path.write_text(render(build.baseline(environment=other)), "utf-8")
    assert "recorded on linux-x86_64-avx2, not on" in broken(store)


def test_no_file_of_another_class_is_trusted_unread(store: BaselineStore) -> None:
    """A baseline that was renamed or damaged must not turn into "not comparable"."""
    (path,) = store.write_all([build.baseline()])
    other = path.rename(path.with_name("linux-aarch64.json"))
    found = store.lookup(CASE, HERE)
    assert isinstance(found, BaselineBroken)
    assert found.path == str(other)
    assert f"it belongs to {path}" in found.reason
    other.write_text("{}", "utf-8")
    found = store.lookup(CASE, HERE)
    assert isinstance(found, BaselineBroken)
    assert "edited or damaged" in found.reason


def denied(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What a folder without permission answers to anyone but root."""
    scandir, listdir = os.scandir, os.listdir

    def refuse(inner):
        def asked(path="."):
            if str(path).startswith(str(folder)):
                raise PermissionError(13, "Permission denied", str(path))
            return inner(path)

        return asked

    monkeypatch.setattr(os, "scandir", refuse(scandir))
    monkeypatch.setattr(os, "listdir", refuse(listdir))


def test_a_folder_that_cannot_be_read_is_no_missing_baseline(
    store: BaselineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = store.write_all([build.baseline()])
    denied(monkeypatch, path.parent)
    found = store.lookup(CASE, HERE)
    assert isinstance(found, BaselineBroken)
    assert "Permission denied" in found.reason
    for case_id in (None, CASE):
        with pytest.raises(BaselineError, match="Permission denied"):
            store.files(case_id)


def test_a_spec_may_be_called_like_a_file(store: BaselineStore) -> None:
    (path,) = store.write_all([build.baseline(case_id="net.json/a@t.json")])
    assert store.files() == (path,)


def test_a_file_beyond_the_size_limit_is_not_read(store: BaselineStore, monkeypatch) -> None:
    (path,) = store.write_all([build.baseline()])
    monkeypatch.setattr(store_module, "SIZE_LIMIT", path.stat().st_size - 1)
    assert "larger than" in broken(store)


def test_links_that_lead_out_are_neither_read_nor_written_through(
    store: BaselineStore, tmp_path: Path
) -> None:
    (path,) = store.write_all([build.baseline()])
    outside = tmp_path / "outside"
    outside.mkdir()
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)
    assert "leads out" in broken(store)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert broken(store)
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(outside)
    assert "leads out" in broken(store)
    before = (outside / path.name).read_bytes()
    with pytest.raises(BaselineError, match="leads out"):
        store.write_all([build.baseline(data_digest="0" * 64)])
    assert (outside / path.name).read_bytes() == before


def test_an_update_through_a_link_replaces_the_link(store: BaselineStore, tmp_path: Path) -> None:
    (path,) = store.write_all([build.baseline()])
    target = tmp_path / "target.json"
    path.rename(target)
    path.symlink_to(target)
    store.write_all([build.baseline(data_digest="0" * 64)])
    assert not path.is_symlink()
    assert target.read_text("utf-8") == render(build.baseline())


def test_two_baselines_for_one_place_are_refused(store: BaselineStore) -> None:
    with pytest.raises(BaselineError, match="two baselines"):
        store.write_all([build.baseline(), build.baseline(data_digest="0" * 64)])
    assert store.files() == ()


def test_a_baseline_that_cannot_be_written_keeps_the_others_from_being_written(
    store: BaselineStore,
) -> None:
    bad = replace(build.baseline().values[0], value=float("nan"))
    with pytest.raises(BaselineError, match="finite"):
        store.write_all([build.baseline(), build.baseline(case_id="x/y@z", values=(bad,))])
    assert store.files() == ()


def test_removal_takes_the_empty_folder_with_it(store: BaselineStore) -> None:
    first, second = store.write_all([build.baseline(), build.baseline(case_id="digits/b@t")])
    store.remove([first])
    assert store.files() == (second,)
    assert not first.parent.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_an_error_without_a_traceback(store: BaselineStore) -> None:
    store.root.mkdir()
    store.root.chmod(0o500)
    with pytest.raises(BaselineError, match="nothing was changed"):
        store.write_all([build.baseline()])
