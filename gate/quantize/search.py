"""Mixed precision under a budget: which layers of another quantization stay in float."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.quantize._choosing import ChoosingMethod
from gate.spec.choosing import NESTED_FORMAT

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_SIZE = rf"^\s*<=\s*{_NUMBER}\s*x\s+(uniform|reference)\s*$"
_DROP = rf"^\s*<=\s*{_NUMBER}\s*pp\s*$"
_SQNR = rf"^\s*>=\s*{_NUMBER}\s*dB\s*$"
_TIME = rf"^\s*{_NUMBER}\s*(s|min)\s*$"
DEFAULT_SECONDS = 120.0
DEFAULT_SAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a mixture may cost; None where nothing is said."""

    size: float | None
    of: str
    """What ``size`` is a multiple of: ``uniform``, every layer quantized, or ``reference``."""
    top1_drop_pp: float | None
    sqnr_db: float | None
    seconds: float
    mixtures: int | None = None
    """How many may be measured."""

    @property
    def demands_accuracy(self) -> bool:
        """Whether there is a bound to reach; otherwise the best is wanted that the bytes allow."""
        return self.top1_drop_pp is not None or self.sqnr_db is not None

    def limit_bytes(self, *, uniform: int, reference: int) -> int | None:
        """Bytes that a candidate may have."""
        if self.size is None:
            return None
        return int(self.size * (uniform if self.of == "uniform" else reference))

    def misses(self, *, sqnr_db: float | None, top1_drop_pp: float | None) -> str:
        """What accuracy does not hold, for people; empty where all does. A missing figure misses."""
        told = []
        if self.sqnr_db is not None and (sqnr_db is None or sqnr_db < self.sqnr_db):
            told.append(f"sqnr {_shown(sqnr_db, 'dB')}, wanted >= {self.sqnr_db:g} dB")
        if self.top1_drop_pp is not None and (
            top1_drop_pp is None or top1_drop_pp > self.top1_drop_pp
        ):
            told.append(
                f"top1_drop {_shown(top1_drop_pp, 'pp')}, wanted <= {self.top1_drop_pp:g} pp"
            )
        return "; ".join(told)


def budget_of(options: Options) -> Budget:
    """Read ``budget`` of options that the schema has checked."""
    given = options.get("budget") or {}
    size = re.match(_SIZE, given["size"]) if "size" in given else None
    time = re.match(_TIME, given["time"]) if "time" in given else None
    drop = re.match(_DROP, given["top1_drop"]) if "top1_drop" in given else None
    sqnr = re.match(_SQNR, given["sqnr"]) if "sqnr" in given else None
    return Budget(
        size=float(size[1]) if size else None,
        of=size[2] if size else "uniform",
        top1_drop_pp=float(drop[1]) if drop else None,
        sqnr_db=float(sqnr[1]) if sqnr else None,
        seconds=float(time[1]) * (60.0 if time[2] == "min" else 1.0) if time else DEFAULT_SECONDS,
        mixtures=given.get("mixtures"),
    )


class MixedSearch(ChoosingMethod):
    """Layers are ranked by their isolated errors, all seen in one pass, and mixtures are made and
    measured within the budget by ``gate.run.choose``; the quantizer under ``of`` makes them."""

    name = "search"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["of"],
        "properties": {
            "of": {
                "format": NESTED_FORMAT,
                "description": "The quantization whose layers are mixed with float ones: its name in"
                " this spec, a method, or a mapping with a method that has keep_float.",
            },
            "strategy": {
                "enum": ["greedy", "pareto"],
                "default": "greedy",
                "description": "greedy goes straight for the budget; pareto spends its time on the"
                " whole front of bytes and accuracy first.",
            },
            "budget": {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "properties": {
                    "size": {
                        "type": "string",
                        "pattern": _SIZE,
                        "title": "a size, as '<= 1.1 x uniform' or '<= 0.3 x reference'",
                        "description": "Bytes of the file: of the uniform candidate's or of the"
                        " float model's.",
                    },
                    "top1_drop": {
                        "type": "string",
                        "pattern": _DROP,
                        "title": "a drop, as '<= 0.5 pp'",
                        "description": "Accuracy that may be lost on the samples of the search.",
                    },
                    "sqnr": {
                        "type": "string",
                        "pattern": _SQNR,
                        "title": "a ratio, as '>= 20 dB'",
                        "description": "Of the worst output on the samples of the search.",
                    },
                    "time": {
                        "type": "string",
                        "pattern": _TIME,
                        "title": "a time, as '60 s' or '5 min'",
                        "default": "120 s",
                        "description": "Wall time of the search.",
                    },
                    "mixtures": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 2**31 - 1,
                        "description": "How many are measured at most: a bound that machines of"
                        " another speed reach alike.",
                    },
                },
                "description": "With a bound on accuracy, the smallest file that holds it is taken;"
                " without one, the best that the bytes allow.",
            },
            "on": {
                "enum": ["calibration", "evaluation"],
                "default": "calibration",
                "description": "Samples that the search looks at; evaluation samples that have chosen"
                " a candidate flatter it.",
            },
            "samples": {
                "type": "integer",
                "minimum": 1,
                "maximum": 2**31 - 1,
                "default": DEFAULT_SAMPLES,
                "description": "How many of them at most.",
            },
        },
    }
    _refusal = "a search measures on the samples of a case: use it in a spec"


def _shown(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.3g} {unit}"
