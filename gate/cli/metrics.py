"""``gate metrics``: every metric with unit, direction, formula and source."""

from __future__ import annotations

import argparse
import json
import sys

from gate.core.status import ExitCode
from gate.metrics.catalogue import CATALOGUE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    if args.json:
        records = [
            {
                "tier": info.tier.value,
                "name": info.name,
                "unit": info.unit,
                "direction": info.direction.value,
                "subject": info.subject,
                "formula": info.formula,
                "source": info.source,
                "has_reference": info.has_reference,
            }
            for info in CATALOGUE
        ]
        sys.stdout.write(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        return ExitCode.PASS
    from tabulate import tabulate

    rows = [
        (
            f"{info.tier}.{info.name}",
            info.unit or "-",
            f"{info.direction} is better",
            info.subject,
            info.formula + (f" [{info.source}]" if info.source else ""),
        )
        for info in CATALOGUE
    ]
    headers = ("metric", "unit", "direction", "one a", "formula (x: reference, y: candidate)")
    sys.stdout.write(tabulate(rows, headers=headers, disable_numparse=True) + "\n")
    return ExitCode.PASS
