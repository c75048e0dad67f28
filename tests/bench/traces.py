"""Recorded latencies of identical and of really slower models: usual methods against the gate's.

83 launches of ONNX Runtime on a noisy machine, each with three identical int8 copies and three that do
3.2, 5.7 and 10.1 % more work, under five kinds of load (``latency_traces``). A trial draws launches
without replacement, in each a block of rounds, and one pair of copies for all of them, so that a
copy that is placed badly stays so: the hardest null there is in the recordings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from gate.judge.latency_questions import against_base
from gate.metrics.sequential import Decision, Launch, Limits, decide
from tests.bench.harness import ROOT, Row

TRIALS = int(os.environ.get("GATE_BENCH_TRIALS", "3000"))
PROCESSES = 8
ROUNDS = 60
STORED_ROUNDS = 120
FP32, COPIES, SLOWER = 0, (1, 2, 3), {"+3.2 %": 4, "+5.7 %": 5, "+10.1 %": 6}

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Recording:
    """Shape (launches, rounds, runs a round, models), nanoseconds."""

    wall: Times
    cpu: Times


def run() -> list[Row]:
    """The table, and the gate's own figures as targets; nothing where the recordings are absent."""
    folder = Path(os.environ.get("GATE_DATA", ROOT.parent / "shared" / "data")) / "latency_traces"
    files = sorted(folder.glob("*.npz"))
    if not files:
        print(f"  skipped: no recordings in {folder}; set GATE_DATA to the data sets' folder")
        return []
    recording = _Recording(
        wall=np.stack([np.load(file)["D"].astype(float) for file in files]),
        cpu=np.stack([np.load(file)["C"].astype(float) for file in files]),
    )
    table = {name: _stored(recording, method) for name, method in _STORED.items()}
    ours = _ours(recording, against_base(0.05).limits)
    table["the gate: paired, sequential, 5 %"] = [ours[name][0] for name in ours]
    columns = list(ours)
    print(
        tabulate(
            [
                (name, *("-" if value is None else f"{100 * value:.2f} %" for value in row))
                for name, row in table.items()
            ],
            headers=("method, share of FAIL", *columns),
        )
    )
    print(
        tabulate(
            [
                (name, *(f"{100 * value:.2f} %" for value in row[:-1]), f"{row[-1]:.2f}")
                for name, row in ours.items()
            ],
            headers=("the gate", "FAIL", "PASS", "INCONCLUSIVE", "FAIL, confirmed", "launches"),
        )
    )
    target = ROOT / ".bench"
    target.mkdir(exist_ok=True)
    (target / "traces.json").write_text(
        json.dumps({"share_of_fail": table, "gate": ours}, indent=1)
    )
    return [
        _row("false FAIL of identical models", ours["identical"][0], 0.0),
        _row("false FAIL at +1 %", ours["+1 %, exact"][0], 0.001),
        _row("missed at +5 %, exact", 1.0 - ours["+5 %, exact"][0], 0.01),
        _row("missed at +5.7 %, measured", 1.0 - ours["+5.7 %"][0], 0.01),
    ]


def _row(what: str, share: float, limit: float) -> Row:
    return Row(
        bench="traces",
        what=f"{what}, share of {TRIALS} trials",
        ours=100.0 * share,
        other=100.0 * limit,
        unit="%",
        target=f"<= {100 * limit:g} %",
        limit=100.0 * limit,
        absolute=True,
    )


# --- today's methods: a value of now against a stored one ---------------------------------------

Method = Callable[[_Recording, np.random.Generator, int], bool]


def _ceiling(statistic: Callable[[Times], np.floating], percent: float) -> Method:
    """Wall time of one launch against that of another, recorded earlier."""

    def fails(seen: _Recording, rng: np.random.Generator, candidate: int) -> bool:
        then, now = rng.choice(len(seen.wall), 2, replace=False)
        copy, other = rng.choice(COPIES, 2, replace=False)
        stored = statistic(_block(seen.wall[then], rng)[:, :, copy])
        value = statistic(_block(seen.wall[now], rng)[:, :, candidate or other])
        return bool(value > (1 + percent / 100) * stored)

    return fails


def _ratio(times: str, percent: float, launches: int) -> Method:
    """int8 / fp32 of one launch against the median ratio of earlier ones."""

    def fails(seen: _Recording, rng: np.random.Generator, candidate: int) -> bool:
        all_times: Times = getattr(seen, times)
        now, *then = rng.choice(len(all_times), 1 + launches, replace=False)
        copy, other = rng.choice(COPIES, 2, replace=False)

        def ratio(index: int, model: int) -> float:
            block = _block(all_times[index], rng)
            return float(np.median(block[:, :, model]) / np.median(block[:, :, FP32]))

        stored = float(np.median([ratio(index, copy) for index in then]))
        return ratio(now, candidate or other) > (1 + percent / 100) * stored

    return fails


_STORED: dict[str, Method] = {
    "wall mean, stored ceiling + 10 %": _ceiling(np.mean, 10),
    "wall minimum, stored ceiling + 10 %": _ceiling(np.min, 10),
    "int8/fp32 of wall medians, stored + 10 %": _ratio("wall", 10, 1),
    "int8/fp32 of CPU medians, stored (15 launches) + 7.5 %": _ratio("cpu", 7.5, 15),
}


def _stored(seen: _Recording, fails: Method) -> list[float | None]:
    rng = np.random.default_rng(0)
    shares = [
        float(np.mean([fails(seen, rng, candidate) for _ in range(TRIALS)]))
        for candidate in (0, *SLOWER.values())
    ]
    return [*shares, None, None]


def _block(launch: Times, rng: np.random.Generator) -> Times:
    start = rng.integers(0, len(launch) - STORED_ROUNDS + 1)
    return launch[start : start + STORED_ROUNDS]


# --- the gate's -----------------------------------------------------------------------------------


def _ours(seen: _Recording, limits: Limits) -> dict[str, list[float]]:
    """Shares of FAIL, PASS, INCONCLUSIVE and of FAIL twice in a row, and launches a set."""
    columns: dict[str, tuple[int, float]] = {
        "identical": (0, 1.0),
        **{name: (index, 1.0) for name, index in SLOWER.items()},
        "+1 %, exact": (0, 1.01),
        "+5 %, exact": (0, 1.05),
    }
    return {name: _shares(seen, limits, *what) for name, what in columns.items()}


def _shares(seen: _Recording, limits: Limits, candidate: int, factor: float) -> list[float]:
    rng = np.random.default_rng(0)
    found: list[Decision] = []
    twice, taken = 0, 0
    for _ in range(TRIALS):
        copy, other = rng.choice(COPIES, 2, replace=False)
        indices = rng.choice(len(seen.wall), 2 * PROCESSES, replace=False)
        sets = [
            [_launch(seen, i, rng, (int(copy), candidate or int(other)), factor) for i in half]
            for half in (indices[:PROCESSES], indices[PROCESSES:])
        ]
        outcome = decide(sets[0], limits, processes=PROCESSES)
        found.append(outcome.decision)
        taken += outcome.launches
        if outcome.decision is Decision.FAIL:
            again = decide(sets[1], limits, processes=PROCESSES)
            twice += again.decision is Decision.FAIL
    order: Sequence[Decision] = (Decision.FAIL, Decision.PASS, Decision.CONTINUE)
    return [
        *(found.count(decision) / TRIALS for decision in order),
        twice / TRIALS,
        taken / TRIALS,
    ]


def _launch(
    seen: _Recording, index: int, rng: np.random.Generator, pair: tuple[int, int], factor: float
) -> Launch:
    start = rng.integers(0, seen.wall.shape[1] - ROUNDS + 1)
    rounds = slice(start, start + ROUNDS)
    a, b = pair
    return Launch(
        a_cpu=seen.cpu[index, rounds, :, a],
        b_cpu=factor * seen.cpu[index, rounds, :, b],
        a_wall=seen.wall[index, rounds, :, a],
        b_wall=factor * seen.wall[index, rounds, :, b],
    )
