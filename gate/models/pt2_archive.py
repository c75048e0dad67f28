"""Looks into a ``torch.export`` archive before torch does, and refuses what could run code.

``torch.export.load`` is no safe reader. Read in torch 2.13, it unpickles weights and constants that
are marked ``use_pickle``, and custom objects; falls back to a full unpickling of the sample inputs;
loads the shared libraries of ahead-of-time compiled models; resolves operator names by attribute
look-up; and hands the text of symbolic sizes to ``sympify``, which evaluates it. An ordinary
``torch.export.save`` of a model of plain tensors needs none of this but sizes and ``torch.ops`` names,
so anything else is refused. Files of releases before 2.8 have another layout and are refused too.

Torch's reader of archives looks names up without regard to case, so names that differ in nothing else are
refused, and what is looked at comes through that reader: another one may find other members.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gate.models.base import ModelError

_TENSORS = ("data/weights/", "data/constants/")
_CONFIG = "_config.json"
_TARGETS = ("torch.ops.", "_operator.", "math.", "torch.sym_")
_EXPRESSION = re.compile(r"[\w\s()+\-*/%,.<>=!&|~']*")
_QUOTED = re.compile(r"'\w*'")
_WORD = re.compile(r"[A-Za-z_]\w*")
_SYMBOL = re.compile(r"[suzq][a-z]*\d+")
# What torch prints symbolic sizes with (sympy's srepr, and torch's own integer functions).
_FUNCTIONS = frozenset(
    """
    Symbol Integer Rational Float Add Mul Pow Max Min Mod Abs And Or Not Eq Ne Lt Le Gt Ge
    StrictLessThan LessThan StrictGreaterThan GreaterThan Equality Unequality Identity
    PythonMod FloorDiv CeilDiv CleanDiv ModularIndexing IntTrueDiv FloatTrueDiv ToFloat TruncToInt
    RoundToInt CeilToInt FloorToInt PowByNatural FloatPow
    positive negative nonnegative integer real True False oo int_oo
    """.split()  # noqa: SIM905 - sixty lines of quotes are harder to read
)


def check_archive(path: Path) -> None:
    """Refuse an archive that torch would run code of.

    Raises:
        ModelError: not an archive of ``torch.export.save``, or one with pickled objects, compiled
            libraries, foreign operators or suspicious expressions.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.orig_filename for member in archive.infolist()]
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path}: is no torch.export archive: {error}") from error
    _check_names(path, names)
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        records = reader.get_all_records()
    except (RuntimeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: is no torch.export archive: torch cannot read it") from error
    if sorted(records) != sorted(_inner(name) for name in names):
        raise ModelError(f"{path}: has two tables of contents that differ, which is refused")
    _check_members(path, reader, records)


def _inner(name: str) -> str:
    """Below the archive's top folder."""
    return name.partition("/")[2]


def _check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse names of which torch's reader may find another than the one that is asked for."""
    if len({name.partition("/")[0] for name in names if "/" in name}) != 1 or not all(
        _inner(name) for name in names
    ):
        raise ModelError(
            f"{path}: is no archive of torch.export.save: its files are not all in one top folder"
        )
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other is not name:
            raise ModelError(
                f"{path}: holds '{other}' and '{name}', which torch does not tell apart: refused"
            )


def _check_members(path: Path, reader: Any, records: Sequence[str]) -> None:
    members = {name.casefold(): name for name in records}
    if "archive_format" not in members or "models/model.json" not in members:
        raise ModelError(
            f"{path}: is no archive of torch.export.save (torch 2.8 or later); a TorchScript file or "
            "an older export must be exported again"
        )
    for inner, name in members.items():
        if inner.startswith("data/aotinductor/"):
            raise ModelError(f"{path}: holds compiled libraries ({inner}), which are refused")
        if inner.startswith(_TENSORS) and inner.endswith(_CONFIG):
            for tensor, entry in _json(path, reader, name).get("config", {}).items():
                if entry.get("use_pickle", True):
                    raise ModelError(
                        f"{path}: '{tensor}' is a pickled object, which is refused; export the model "
                        "with plain tensors"
                    )
        elif inner.startswith("models/"):
            _check_program(path, _json(path, reader, name))
        elif inner.startswith("data/sample_inputs/"):
            _check_sample_inputs(path, reader.get_record(name))


def _check_program(path: Path, program: Any) -> None:
    for key, value in _strings(program):
        if key == "target" and not value.startswith(_TARGETS):
            raise ModelError(f"{path}: calls '{value}', which is no torch operator: refused")
        if key == "expr_str" and not _is_plain(value):
            raise ModelError(f"{path}: has a size expression '{value:.60}' that is refused")


def _is_plain(expression: str) -> bool:
    if not _EXPRESSION.fullmatch(expression):
        return False
    words = _WORD.findall(_QUOTED.sub("", expression))
    return all(word in _FUNCTIONS or _SYMBOL.fullmatch(word) for word in words)


def _check_sample_inputs(path: Path, content: bytes) -> None:
    import torch

    if not content:
        return
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(
            f"{path}: its sample inputs hold more than tensors, which is refused"
        ) from error


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _strings(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)
    elif isinstance(node, str):
        yield key, node


def _json(path: Path, reader: Any, name: str) -> Any:
    try:
        return json.loads(reader.get_record(name))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: {name} is damaged: {error}") from error
