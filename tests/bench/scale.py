"""Many cases: how long a plan of 10 000 takes, and the merge of as many results from 16 shards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gate.core.canonical import canonical_json
from gate.core.case import Case
from gate.core.convert import to_plain
from gate.core.layer import ErrorSums, LayerMatch, LayerRow, LayersObserved, QParams, TensorInfo
from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.run.costs import Costs
from gate.run.shards import Shard, part_of
from gate.run.store import RunStore, result_path
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.bench.harness import Row, environment, wall_seconds
from tests.unit.report.records import observation

SPECS, QUANTIZATIONS, TARGETS = 100, 10, 10
CASES = SPECS * QUANTIZATIONS * TARGETS
SHARDS = 16
LAYERS = 6
CHANNELS = 8
VARIANTS = 100
"""Different observations; each case has one of them under its own name."""


def run() -> list[Row]:
    """Wall time of the whole command lines."""
    gate = str(Path(sys.executable).with_name("gate"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_specs(folder)
        planned = min(wall_seconds([gate, "plan", "specs", "--json"], cwd=folder) for _ in range(3))
        listed = min(wall_seconds([gate, "plan", "specs"], cwd=folder) for _ in range(2))
        size = write_shards(folder)
        command = [gate, "merge", "shards", "--json"]
        command += ["--junit", "junit.xml", "--markdown", "report.md", "--sarif", "report.sarif"]
        merged, peak = min(_seconds_and_megabytes(command, folder) for _ in range(2))
    memory = _row(f"gate merge, {CASES} results: peak memory", peak, 1500.0, "resident", unit="MB")
    return [
        _row(f"gate plan --json, {CASES} cases", planned, 5.0, f"{SPECS} specs"),
        _row(f"gate plan, {CASES} cases", listed, 5.0, "the table"),
        _row(
            f"gate merge, {CASES} results of {SHARDS} shards",
            merged,
            20.0,
            f"{size / CASES / 1000:.1f} kB each, {LAYERS} layers; JSON, JUnit, Markdown, SARIF",
        ),
        memory,
    ]


def _seconds_and_megabytes(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Wall time and peak resident memory of a merge whose report goes into a file.

    Raises:
        RuntimeError: it did not end as it must where one case in ten is made to fail.
    """
    start = time.perf_counter()
    with (folder / "report.json").open("wb") as report:
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=report)
        _, status, used = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 1:
        raise RuntimeError(f"{command}: exit {process.returncode}")
    return elapsed, used.ru_maxrss * 1024 / 1e6


def _row(what: str, ours: float, limit: float, note: str, *, unit: str = "s") -> Row:
    return Row(
        bench="scale",
        what=what,
        ours=ours,
        other=limit,
        unit=unit,
        target=f"<= {limit:g} {unit}",
        limit=limit,
        absolute=True,
        note=note,
    )


def write_specs(folder: Path) -> None:
    """Specs whose matrices come to ``CASES`` cases; their model files need not exist to be planned."""
    (folder / "pyproject.toml").write_text("[tool.gate]\ntrusted = []\n")
    (folder / "specs").mkdir()
    for index in range(SPECS):
        quantizations = {f"q{i}": {"method": "onnxruntime-static"} for i in range(QUANTIZATIONS)}
        spec = {
            "version": 1,
            "model": {
                "id": f"m{index}",
                "task": "image-classification",
                "reference": {"source": "onnx", "path": "m.onnx"},
                "inputs": {"x": {"shape": ["N", 3, 32, 32], "dtype": "float32"}},
            },
            "data": {
                "calibration": {"source": "npz", "path": "c.npz", "inputs": "x", "samples": 64},
                "evaluation": {"source": "npz", "path": "e.npz", "inputs": "x", "labels": "y"},
            },
            "quantizations": quantizations,
            "targets": {
                f"t{i}": {"backend": "onnxruntime", "threads": i + 1} for i in range(TARGETS)
            },
            "baseline": "ignore",
            "run": {"timing": {"rounds": 2, "processes": 1}},
            "tolerances": {
                "numerical": {"finite": True, "sqnr": ">= 15 dB", "relative_mse": "< 5 %"},
                "layers": {"shapes": "equal", "quantized_ops": "== 100 %", "sqnr": ">= 15 dB"},
                "device": {"size": "<= 0.5 x reference", "peak_memory": "<= 1 GB"},
            },
        }
        (folder / "specs" / f"m{index:03d}.json").write_text(json.dumps(spec))


def write_shards(folder: Path) -> int:
    """Runs of all shards as the engine would have left them; total bytes of their results."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        whole = plan(load_specs(["specs"]))
    finally:
        os.chdir(here)
    random_ = random.Random(0)  # noqa: S311 - data of a benchmark
    observed = [to_plain(_observed(random_)) for _ in range(VARIANTS)]
    total = 0
    for index in range(1, SHARDS + 1):
        part = part_of(whole, Shard(index=index, count=SHARDS), Costs())
        run_dir = folder / "shards" / f"shard-{index}"
        run_dir.mkdir(parents=True)
        RunStore(run_dir, part.cases, part=part).close()
        for case in part.cases:
            # Not through the store, which would wait for the disk each time.
            text = canonical_json(_plain_result(case, random_.choice(observed)))
            result_path(run_dir, case.id).write_text(text)
            total += len(text)
    return total


def _plain_result(case: Case, observed: dict[str, Any]) -> dict[str, Any]:
    empty = to_plain(CaseResult(case=case))
    named = {**observed, "case_id": case.id, "spec_digest": case.spec_digest}
    return {**empty, "observation": named}


def _observed(random_: random.Random) -> Observation:
    """Facts of a small network; in one case of ten the outputs are far off."""
    plain = observation("any")
    layers = _layers(random_)
    noise = 40.0 if random_.random() < 0.1 else 4.0 * random_.random()
    errors = ErrorSums(elements=40, sum_x2=400.0, sum_y2=400.0, sum_err2=noise)
    outputs = {name: replace(seen, errors=errors) for name, seen in plain.outputs.items()}
    return replace(plain, outputs=outputs, layers=layers)


def _layers(random_: random.Random) -> LayersObserved:
    def sums() -> ErrorSums:
        channels = tuple(random_.uniform(50, 150) for _ in range(CHANNELS))
        wrong = tuple(value * random_.uniform(1e-4, 5e-4) for value in channels)
        return ErrorSums(
            elements=CHANNELS * 100,
            sum_x2=sum(channels),
            sum_y2=sum(channels),
            sum_err2=sum(wrong),
            max_abs_error=random_.random(),
            channel_axis=1,
            channel_elements=100,
            channel_sum_x=channels,
            channel_sum_x2=channels,
            channel_sum_err2=wrong,
        )

    float_info = TensorInfo(shape=(1, CHANNELS, 8, 8), dtype="float32")
    weight = QParams(
        dtype="int8",
        scheme="per-channel-symmetric",
        axis=0,
        scales=tuple(random_.random() for _ in range(CHANNELS)),
        zero_points=(0,) * CHANNELS,
        channels=CHANNELS,
        output_axis=0,
    )
    names = [f"conv{i}" for i in range(LAYERS)]
    float_rows = tuple(
        LayerRow(
            name=name,
            op="Conv",
            computes=True,
            quantized=False,
            inputs=(float_info,),
            outputs=(float_info,),
            params=2304,
            macs=10**6,
        )
        for name in names
    )
    int_rows = tuple(
        replace(row, quantized=True, weight=weight, params_quantized=row.params)
        for row in float_rows
    )
    matches = tuple(
        LayerMatch(candidate=name, reference=(name,), rule="name", errors=sums()) for name in names
    )
    return LayersObserved(
        reference=float_rows,
        candidate=int_rows,
        matches=matches,
        unmatched_reference=(),
        unmatched_candidate=(),
        samples=16,
    )
