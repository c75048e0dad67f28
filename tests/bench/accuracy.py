"""The accuracy verdict's error at a true drop of exactly the bound, against the usual tests."""

from __future__ import annotations

from tabulate import tabulate

from gate.metrics.sample_size import ALPHA_FAIL, ALPHA_PASS
from tests.bench.accuracy_enumeration import METHODS, Errors, enumerate_errors
from tests.bench.harness import Row

MARGIN = 0.01
SAMPLES = (200, 500, 1000, 5000, 20_000, 50_000)
PSI = (0.010001, 0.012, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10, 0.15)
ACCURACY = (0.6, 0.75, 0.9)
HARD = ((0.0025, 1500), (0.005, 1500), (0.01, 750), (0.02, 300), (0.02, 1500), (0.05, 1500))
"""(bound, samples) at which the score test and Newcombe's interval together err most; found by a
scan of five bounds and eight sizes."""
SLACK = 0.001


def run() -> list[Row]:
    """Enumerate every combination; one row a number of samples and side, at its worst psi."""
    settings = [(MARGIN, n, PSI) for n in SAMPLES]
    settings += [(margin, n, tuple(margin * psi / MARGIN for psi in PSI)) for margin, n in HARD]
    rows, table = [], []
    for margin, n, shares in settings:
        found = {
            (psi, accuracy): enumerate_errors(n, psi, margin, accuracy)
            for psi in shares
            for accuracy in ACCURACY
            if 0.0 < (accuracy - (psi + margin) / 2.0) / (1.0 - psi) < 1.0
        }
        for side, alpha in (("false_pass", ALPHA_PASS), ("false_fail", ALPHA_FAIL)):
            worst = {method: _worst(found, method, side) for method in METHODS}
            figures = [f"{worst[method][0]:.4f}" for method in METHODS]
            name = side.replace("_", " ")
            table.append((f"{100 * margin:g} pp", n, name, alpha, *figures))
            rows.append(_row(f"{name}, {100 * margin:g} pp, n = {n}", alpha, worst))
    headers = ("bound", "n", "error", "alpha", *METHODS)
    print(
        f"worst over psi of {PSI[0] / MARGIN:.2g} to {PSI[-1] / MARGIN:g} x the bound, drop = bound"
    )
    print(tabulate(table, headers=headers, disable_numparse=True))
    return rows


def _row(what: str, alpha: float, worst: dict[str, tuple[float, tuple[float, float]]]) -> Row:
    error, (psi, accuracy) = worst["gate"]
    others = ", ".join(f"{m} {value:.4f}" for m, (value, _) in worst.items() if m != "gate")
    return Row(
        bench="accuracy",
        what=what,
        ours=error,
        other=alpha + SLACK,
        unit="",
        target=f"<= {alpha + SLACK:g}",
        limit=alpha + SLACK,
        absolute=True,
        note=f"psi {100 * psi:.3g} %, accuracy {accuracy:g}; {others}",
    )


def _worst(
    found: dict[tuple[float, float], dict[str, Errors]], method: str, side: str
) -> tuple[float, tuple[float, float]]:
    return max((getattr(errors[method], side), at) for at, errors in found.items())
