"""Drills of the shipped specs: faults caught, layers named, false alarms, and what it takes.

By default the families ``weights`` and ``activations`` on 200 samples and a few healthy reruns; with
``GATE_BENCH=full`` every fault, and 200 healthy reruns over all specs. What slips through is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.harness import ROOT, Row, data_root, environment

FULL = os.environ.get("GATE_BENCH") == "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """One spec, the case of it that is drilled, and how much of it."""

    spec: str
    case: str
    samples: int
    reruns: int
    images: bool = False


# 120 + 70 + 10 reruns: the network on images takes ten times as long as the other two.
SPECS = (
    Drilled(spec="digits_cnn", case="ort-per-channel@ort-cpu", samples=797, reruns=120),
    Drilled(spec="digits_lstm", case="ort-dynamic@ort-cpu", samples=797, reruns=70),
    Drilled(
        spec="efficientnet_lite0",
        case="ptq-per-channel@ort-cpu",
        samples=200,
        reruns=10,
        images=True,
    ),
)


def run() -> list[Row]:
    """Rows of every spec whose data is here."""
    rows: list[Row] = []
    for one in SPECS:
        if one.images and data_root() is None:
            print(f"  {one.spec}: skipped, GATE_DATA names no folder with imagenet_val1300/")
            continue
        rows += _rows(one)
    return rows


def _rows(one: Drilled) -> list[Row]:
    samples = one.samples if FULL else min(200, one.samples)
    faults = () if FULL else ("--faults", "weights", "--faults", "activations")
    started = time.perf_counter()
    found = _gate(one, "--samples", str(samples), *faults)
    seconds = time.perf_counter() - started
    score = found["score"]
    for case in found["cases"]:
        for fault in case["faults"]:
            if fault["finding"] in ("slipped", "broken") or fault["rightly_named"] is False:
                print(f"  {one.spec}: {_said(fault)}")
    reruns = one.reruns if FULL else 4
    alarms = _gate(one, "--samples", str(samples), "--healthy", str(reruns))["healthy_repeats"]
    for alarm in alarms["false_alarms"]:
        print(f"  {one.spec}: false alarm: {alarm}")
    counted = f"{score['caught']} of {score['effective']} caught"
    named = f"{score['named']} of {score['with_layer']} named"
    return [
        _row(one, "faults missed", 100.0 - (score["percent"] or 0.0), "%", limit=5.0, note=counted),
        _row(
            one, "wrong layer", 100.0 - (score["named_percent"] or 0.0), "%", limit=5.0, note=named
        ),
        _row(
            one,
            "false alarms",
            len(alarms["false_alarms"]),
            "",
            limit=0.0,
            note=f"{alarms['runs']} reruns",
        ),
        _row(one, "drill", seconds, "s", limit=float("inf"), note=f"{len(found['cases'])} case"),
    ]


def _row(one: Drilled, what: str, ours: float, unit: str, *, limit: float, note: str) -> Row:
    return Row(
        bench="drill",
        what=f"{one.spec}: {what}",
        ours=ours,
        other=limit,
        unit=unit,
        target=f"<= {limit:g} {unit}".rstrip() if limit != float("inf") else "-",
        limit=limit,
        absolute=True,
        note=note,
    )


def _gate(one: Drilled, *words: str) -> dict[str, Any]:
    command: Sequence[str] = (
        sys.executable, "-m", "gate.cli.main", "drill", f"specs/{one.spec}.yaml", "--select",
        f"{one.spec}/{one.case}", "--jobs", "2", "--quiet", "--json", *words,
    )  # fmt: skip
    folder = data_root()
    extra = {"GATE_DATA": str(folder)} if folder is not None else {}
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**extra), capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["not_drilled"] and not found["cases"] and found["healthy_repeats"] is None:
        raise RuntimeError(f"{command}: {found['not_drilled']}")
    return found


def _said(fault: dict[str, Any]) -> str:
    planted = fault["planted"] or {}
    advice = fault["advice"] or {}
    return (
        f"{fault['fault']} {fault['finding']}, planted in {planted.get('layer')}, named "
        f"{fault['layer_named']}; advice {advice.get('metric')} {advice.get('tolerance')}"
        f" {fault['reason']}".rstrip()
    )
