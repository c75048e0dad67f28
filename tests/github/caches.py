"""What ``actions/cache`` and ``actions/cache/restore`` do: folders by key, kept from run to run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


class Caches:
    """Entries are never overwritten; of several with a wanted prefix the newest is taken."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[tuple[str, str], Path] = {}

    def files(self, key: str) -> list[str]:
        """Names of the files of an entry, sorted."""
        (place,) = [place for (_, name), place in self._entries.items() if name == key]
        return sorted(file.relative_to(place).as_posix() for file in place.rglob("*.*"))

    def restore(self, options: Mapping[str, str], workspace: Path) -> None:
        """Copy the entry of the key, or else of a prefix, to its place."""
        newest = list(reversed(self._entries))
        wanted = [entry for entry in newest if entry == (options["path"], options["key"])]
        for prefix in options.get("restore-keys", "").split():
            wanted += [
                (p, key) for p, key in newest if p == options["path"] and key.startswith(prefix)
            ]
        if wanted:
            target = workspace / options["path"]
            shutil.copytree(self._entries[wanted[0]], target, dirs_exist_ok=True)

    def save(self, options: Mapping[str, str], workspace: Path) -> None:
        """Keep the folder, unless it is missing or the key is there already."""
        entry = (options["path"], options["key"])
        source = workspace / options["path"]
        if entry not in self._entries and source.is_dir():
            place = self._root / str(len(self._entries))
            shutil.copytree(source, place)
            self._entries[entry] = place
