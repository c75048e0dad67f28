from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.run.cache import Cache, Entry

PARTS = {"a": 1}


def make(cache: Cache, parts: dict[str, int], text: str = "content") -> Entry:
    with cache.slot("kind", parts) as slot:
        if slot.entry is None:
            (slot.staging() / "file.bin").write_text(text)
            slot.commit({"made": text})
        assert slot.entry is not None
        return slot.entry


def lookup(cache: Cache, parts: dict[str, int]) -> tuple[Entry | None, str | None]:
    with cache.slot("kind", parts) as slot:
        return slot.entry, slot.damage


def in_another_process(body: str, root: Path) -> str:
    """Run Python that has ``cache``; entries used there are protected until it ends."""
    code = (
        "import sys; from pathlib import Path; from gate.run.cache import Cache\n"
        f"cache = Cache(Path({str(root)!r}))\n{body}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


MAKE = """
for number in {numbers}:
    with cache.slot("kind", {{"n": number}}) as slot:
        (slot.staging() / "f").write_bytes(b"x" * 1000)
        slot.commit(None)
"""


def test_an_entry_is_found_again_with_its_meta(tmp_path: Path) -> None:
    made = make(Cache(tmp_path), PARTS)
    found, damage = lookup(Cache(tmp_path), PARTS)
    assert damage is None
    assert found == made
    assert (made.directory / "file.bin").read_text() == "content"
    assert made.meta == {"made": "content"}


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    make(Cache(tmp_path), PARTS)
    assert lookup(Cache(tmp_path), {"a": 2})[0] is None
    assert lookup(Cache(tmp_path), {"b": 1})[0] is None
    with Cache(tmp_path).slot("other", PARTS) as slot:
        assert slot.entry is None


def change_file(entry: Path) -> None:
    (entry / "file.bin").write_text("Content")


def cut_file(entry: Path) -> None:
    (entry / "file.bin").write_text("")


def remove_file(entry: Path) -> None:
    (entry / "file.bin").unlink()


def add_file(entry: Path) -> None:
    (entry / "more").write_text("")


def change_meta(entry: Path) -> None:
    manifest = entry / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"made":"content"', '"made":"other"'))


def cut_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text("{")


def empty_manifest(entry: Path) -> None:
    (entry / "manifest.json").write_text("[]")


def remove_manifest(entry: Path) -> None:
    (entry / "manifest.json").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        change_file,
        cut_file,
        remove_file,
        add_file,
        change_meta,
        cut_manifest,
        empty_manifest,
        remove_manifest,
    ],
)
def test_a_damaged_entry_is_not_used_but_said_and_made_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(make(Cache(tmp_path), PARTS).directory)
    found, said = lookup(Cache(tmp_path), PARTS)
    assert found is None
    assert said
    assert make(Cache(tmp_path), PARTS, "again").meta == {"made": "again"}


def test_what_was_begun_and_not_committed_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def broken() -> None:
        with cache.slot("kind", PARTS) as slot:
            (slot.staging() / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert lookup(cache, PARTS) == (None, None)
    assert list(tmp_path.rglob("half")) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    in_another_process(
        'import os\nwith cache.slot("kind", {"a": 1}) as slot:\n'
        '    (slot.staging() / "half").write_text("x")\n'
        "    sys.stdout.flush(); os._exit(0)\n",
        tmp_path,
    )
    assert len(list(tmp_path.rglob("half"))) == 1
    entry = make(Cache(tmp_path), PARTS)
    assert [p.name for p in entry.directory.iterdir() if p.name != "manifest.json"] == ["file.bin"]
    assert list(tmp_path.rglob("half")) == []


def test_two_processes_make_a_thing_once(tmp_path: Path) -> None:
    body = (
        "import time, os\n"
        'with cache.slot("kind", {"a": 1}) as slot:\n'
        "    if slot.entry is None:\n"
        '        (slot.staging() / "f").write_text(str(os.getpid())); time.sleep(0.3)\n'
        '        slot.commit(None); print("made")\n'
        '    else:\n        print("found")\n'
    )
    code = (
        "import sys; from pathlib import Path; from gate.run.cache import Cache\n"
        f"cache = Cache(Path({str(tmp_path)!r}))\n{body}"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = sorted(process.communicate()[0].strip() for process in running)
    assert said == ["found", "found", "made"]


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    in_another_process(MAKE.format(numbers=range(4)), tmp_path)
    manifests = {number: lookup_path(tmp_path, number) / "manifest.json" for number in range(4)}
    for age, number in enumerate([2, 0, 3, 1]):  # 2 is the oldest
        os.utime(manifests[number], (1000 + age, 1000 + age))
    each = sum(p.stat().st_size for p in manifests[0].parent.iterdir())
    Cache(tmp_path, limit_bytes=2 * each + each // 2).evict()
    assert {n for n, path in manifests.items() if path.exists()} == {3, 1}


def lookup_path(root: Path, number: int) -> Path:
    """Folder of an entry, found without using (and so protecting) it."""
    (path,) = [
        p.parent
        for p in root.glob("v1/kind/*/manifest.json")
        if f'"parts":{{"n":{number}}}' in p.read_text()
    ]
    return path


def test_entries_in_use_stay_whatever_the_limit(tmp_path: Path) -> None:
    mine = make(Cache(tmp_path), PARTS)
    in_another_process(
        'with cache.slot("kind", {"n": 1}) as slot:\n'
        '    (slot.staging() / "f").write_text("y"); slot.commit(None)\n'
        "Cache(cache.root.parent, limit_bytes=0).evict()\n",
        tmp_path,
    )
    assert (mine.directory / "file.bin").exists()
