"""Units that tolerances and limits are written in, and their factors to the units of the catalogue."""

from __future__ import annotations

# Unit of a metric -> units it may be written in -> factor. Percentages and points are kept apart:
# '1 %' of an accuracy drop has two meanings.
FACTORS: dict[str, dict[str, float]] = {
    "%": {"%": 1.0},
    "pp": {"pp": 1.0},
    "dB": {"dB": 1.0},
    "ms": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
    "B": {
        "B": 1.0,
        "kB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 1024.0,
        "MiB": 1024.0**2,
        "GiB": 1024.0**3,
    },
    "x": {"x": 1.0},
    "fps": {"fps": 1.0},
    "nat": {"nat": 1.0},
    "": {},
}
SECONDS: dict[str, float] = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
"""For ``run.timeout``."""
OFFSET_UNITS: dict[str, dict[str, float]] = {**FACTORS, "%": {"pp": 1.0}}
"""For ``baseline + NUMBER UNIT``; there ``%`` means per cent of the baseline's value."""


class UnitError(ValueError):
    """A unit that does not fit; the message is for the user."""


def factor(unit: str, table: dict[str, float], what: str) -> float:
    """Factor of ``unit`` in ``table``; ``what`` is what the number stands for.

    Raises:
        UnitError: a missing, unknown or wrong unit.
    """
    if not table:
        if unit:
            raise UnitError(f"{what} has no unit, found '{unit}'")
        return 1.0
    if unit in table:
        return table[unit]
    names = [known for known in table if known != "µs"]
    expected = f"the unit {names[0]}" if len(names) == 1 else f"one of the units {', '.join(names)}"
    if not unit:
        raise UnitError(f"{what} needs a unit: {', '.join(names)}")
    folded = {known.casefold(): known for known in reversed(table)}
    near = folded.get(unit.casefold())
    meant = f"; did you mean '{near}'?" if near is not None else ""
    raise UnitError(f"expected {expected} for {what}, found '{unit}'{meant}")
