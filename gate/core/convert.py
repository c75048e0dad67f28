"""Dataclasses of ``gate.core`` to plain JSON values and back, strictly; JSON read fast."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


class MalformedRecordError(ValueError):
    """A file whose content is not the record it should be; the message lists every fault."""


# JSON has no word for these, and a broken model may well hold them: a NaN scale is a fact to record.
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _write_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _read_float(value: Any, _kind: Any) -> float:
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) not in (int, float):
        raise TypeError(f"expected a number, got {value!r:.80}")
    return float(value)


def _exactly(*kinds: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _kind: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError(f"expected {' or '.join(k.__name__ for k in kinds)}, got {value!r:.80}")
        return value

    return structure


@cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(int | str, _exactly(int, str))
    # Strict where cattrs would coerce: "3" is no number, 1 is no truth value.
    converter.register_structure_hook(int, _exactly(int))
    converter.register_structure_hook(float, _read_float)
    converter.register_unstructure_hook(float, _write_float)
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(bool, _exactly(bool))
    # Closer than the hook for str, which would leave plain strings in place of the members.
    converter.register_structure_hook(StrEnum, lambda value, kind: kind(value))
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    # Sums a channel and samples a round are most of a record: read as a whole where they are plain.
    _read_at_once(converter, float, tuple[float, ...])
    _read_at_once(converter, int, tuple[int, ...])
    return converter


def _read_at_once(converter: Converter, kind: type, numbers: Any) -> None:
    """Take a list of ``kind`` alone over at once; any other is read and checked one by one."""
    one_by_one = converter.get_structure_hook(numbers)

    def structure(value: Any, wanted: Any) -> Any:
        plain = type(value) in (list, tuple) and set(map(type, value)) <= {kind}
        return tuple(value) if plain else one_by_one(value, wanted)

    converter.register_structure_hook_func(lambda wanted: bool(wanted == numbers), structure)


def to_plain(record: Any) -> Any:
    """Turn a record into dicts, lists, strings and numbers."""
    return _converter().unstructure(record)


def from_plain(kind: type[T], value: Any) -> T:
    """Build a record of ``kind``.

    Raises:
        MalformedRecordError: unknown or missing keys, or values of a wrong type.
    """
    from cattrs import transform_error

    whole = _taken_over(kind, value)
    if whole is not None:
        return whole
    try:
        return _converter().structure(value, kind)
    except Exception as error:  # cattrs raises groups of many kinds; each is a malformed record
        raise MalformedRecordError("; ".join(transform_error(error))) from error


def _taken_over(kind: type[T], value: Any) -> T | None:
    """The record, built several times faster, where ``value`` is all that writing it gives again;
    None where it is anything else, be it right or wrong: the strict converter knows."""
    import msgspec

    try:
        record = msgspec.convert(value, kind)
        # Unknown keys would be passed over, keys that are missing filled in: neither is the same.
        written, given = (msgspec.json.encode(one, order="sorted") for one in (record, value))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return record if written == given else None


def to_json(record: Any) -> bytes:
    """Write a record as compact JSON with sorted keys and full float precision; numbers that are not
    finite are words."""
    import msgspec

    return msgspec.json.encode(to_plain(record), order="sorted")


def from_json(kind: type[T], raw: bytes) -> T:
    """Read a record that :func:`to_json` wrote, several times faster than by its plain values, and any
    other JSON by these.

    Raises:
        MalformedRecordError: no complete JSON, unknown or missing keys, or values of a wrong type.
    """
    import msgspec

    try:
        record = msgspec.json.decode(raw, type=kind)
        # Unknown keys would be passed over, keys that are missing filled in: neither is the same.
        if msgspec.json.encode(record, order="sorted") == raw:
            return record
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        pass  # whatever it is, the strict converter has words for it, or takes it
    try:
        value = read_json(raw)
    except ValueError as error:
        raise MalformedRecordError(f"is no complete JSON: {error}") from error
    except RecursionError as error:
        raise MalformedRecordError("is nested too deeply") from error
    return from_plain(kind, value)


def part_of_json(kind: type[T], raw: bytes) -> T:
    """Read only what ``kind`` has fields for, of a document that may hold more.

    Raises:
        MalformedRecordError: no complete JSON, missing keys, or values of a wrong type.
    """
    import msgspec

    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedRecordError(str(error)) from error


def items_of_json(raw: bytes, key: str) -> list[bytes]:
    """The items of the list ``key`` of a JSON document, each as :func:`to_json` writes it."""
    import msgspec

    items = read_json(raw)[key]
    return [msgspec.json.encode(item, order="sorted") for item in items]


def pack(record: Any) -> bytes:
    """A record for another process of this one's making, written several times faster than by pickle.

    Of a value that is typed ``Any`` a tuple comes out as a list, and what two fields share comes out twice.
    """
    import msgspec

    return msgspec.msgpack.encode(record)


def unpack(kind: type[T], packed: bytes) -> T:
    """The record of ``kind`` that :func:`pack` wrote."""
    import msgspec

    return msgspec.msgpack.decode(packed, type=kind)


def read_json(raw: bytes) -> Any:
    """The values of a JSON document, as ``json.loads`` reads them, in half the time.

    Raises:
        ValueError: it is no complete JSON.
        RecursionError: it is nested too deeply.
    """
    import msgspec

    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Its words are better, and it takes what is not of the standard: "NaN", half a surrogate pair.
        return json.loads(raw)
