"""Canonical JSON: one byte sequence for one value, so that digests and diffs are stable."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, a list or a string-keyed dict of these (the recursive type would
defeat the structuring library)."""


def canonical_json(value: Any) -> str:
    """Serialise with sorted keys and full float precision, in compact form.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON has no word for.
    """
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
