"""How often is the right layer named? Faults planted into layer after layer, and five ways to name it.

The faults go into copies of a candidate's file. The healthy candidate is the accepted baseline, and
every rule that needs a band has the same: 1 dB below the baseline's value.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gate.core.artifact import Artifact, Format
from gate.core.case import Case
from gate.core.layer import LayersObserved
from gate.data.samples import open_samples
from gate.judge.layers import execution_order
from gate.judge.localise import bad_by_itself
from gate.metrics.elementwise import sqnr_db, worst_channel_nmse_percent
from gate.models.conversions import convert
from gate.plugins import load
from gate.tiers.layers import observe_layers
from tests.bench.harness import Row, data_root
from tests.bench.localisation_faults import FAULTS, NotHereError, plant, weighted
from tests.bench.models import Network, case, quantized

BAND_DB = 1.0
SAMPLES = 16
NETWORKS = (
    ("digits_cnn.yaml", "*/ort-per-channel@*", None),
    ("digits_lstm.yaml", "*/ort-dynamic@*", None),
    ("efficientnet_lite0.yaml", "*/ptq-per-channel@*", 9),
)
"""Spec, case, and how many layers are broken in turn (None: all)."""
RULES = (
    "isolated, baseline",
    "isolated, no baseline",
    "cumulative, first out of band",
    "cumulative, largest drop",
)


def run() -> list[Row]:
    """Share of faults whose layer each rule names, in per cent of those that change the output."""
    rows = []
    for spec, select, layers in NETWORKS:
        if spec.startswith("efficientnet") and data_root() is None:
            print("efficientnet_lite0 skipped: GATE_DATA names no folder with the photographs")
            continue
        named, planted = count(case(spec, select), layers)
        rows += [
            Row(
                bench="localisation",
                what=f"{spec.removesuffix('.yaml')}: {rule}",
                ours=100.0 * (planted - named[rule]) / planted,
                other=5.0,
                unit="% wrong",
                target="<= 5" if rule == RULES[0] else "-",
                limit=5.0 if rule == RULES[0] else 100.0,
                absolute=True,
                note=f"{named[rule]} of {planted}",
            )
            for rule in RULES
        ]
    return rows


def count(chosen: Case, layers: int | None) -> tuple[Counter[str], int]:
    """How often each rule was right, and how many faults were planted."""
    named: Counter[str] = Counter()
    planted = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(chosen, Path(folder))
        for fault, node, seen in bench.broken(layers):
            answers = name_layer(seen, bench.healthy)
            truth = bench.row_of(node)
            planted += 1
            for rule, answer in answers.items():
                named[rule] += answer == truth
            if any(answer != truth for answer in list(answers.values())[:1]):
                print(f"  {fault} in {truth}: {answers}", file=sys.stderr)
    return named, planted


def name_layer(seen: LayersObserved, healthy: LayersObserved) -> dict[str, str | None]:
    """What each rule says."""
    order = list(execution_order(seen))
    now = {m.candidate: m for m in seen.matches}
    then = {m.candidate: m for m in healthy.matches}
    isolated = _db(seen, "isolated"), _channels(seen)
    before = _db(healthy, "isolated"), _channels(healthy)
    cumulative, accepted = _db(seen, "errors"), _db(healthy, "errors")
    chain = [name for name in order if name in cumulative and name in now and name in then]
    drops = {b: cumulative[a] - cumulative[b] for a, b in pairwise(chain)}
    if chain:
        drops[chain[0]] = 60.0 - cumulative[chain[0]]

    def first(bad: Mapping[str, object]) -> str | None:
        return next((name for name in order if name in bad), None)

    return {
        RULES[0]: first(dict(bad_by_itself(*isolated, *before))),
        RULES[1]: first(dict(bad_by_itself(*isolated, {}, {}))),
        RULES[2]: next((n for n in chain if cumulative[n] < accepted[n] - BAND_DB), None),
        RULES[3]: max(drops, key=lambda name: drops[name], default=None),
    }


class _Bench:
    """One network: its float model, its candidate, and the healthy observation."""

    def __init__(self, chosen: Case, folder: Path) -> None:
        self._case = chosen
        self._folder = folder
        static = chosen.quantization.method == "onnxruntime-static"
        made = quantized(chosen, folder) if static else _dynamic(chosen, folder)
        self._floating, self._candidate = made.floating, made.candidate
        self._model = onnx.load_model(str(self._candidate.path))
        evaluation, _ = open_samples(chosen.data, chosen.model.inputs)
        self._inputs = next(b.inputs for b in evaluation.batches(SAMPLES, limit=SAMPLES))
        self.healthy = self._observe(self._candidate)

    def broken(self, layers: int | None) -> Iterator[tuple[str, str, LayersObserved]]:
        """Every fault in every layer (or in so many, evenly spread) that changes the output."""
        nodes = weighted(self._model)
        if layers is not None:
            nodes = [nodes[round(i)] for i in np.linspace(0, len(nodes) - 1, layers)]
        for node in nodes:
            for fault in FAULTS:
                try:
                    model = plant(self._model, fault, node)
                except NotHereError:
                    continue
                path = self._folder / "broken.onnx"
                onnx.save_model(model, str(path))
                artifact = replace(self._candidate, path=path)
                if self._same_output(artifact):
                    continue
                yield fault.__name__, node, self._observe(artifact)

    def row_of(self, node: str) -> str:
        """Name of the layer that a node of the file belongs to."""
        with self._open(self._candidate) as session:
            return next(i.name for layer, i in session._named() if layer.node.name == node)

    def _observe(self, artifact: Artifact) -> LayersObserved:
        backend = load("backends", self._case.target.backend)
        with (
            backend.open_reference(self._floating, target=self._case.target) as reference,
            self._open(artifact) as candidate,
        ):
            return observe_layers(
                reference,
                candidate,
                sample={name: value[:2] for name, value in self._inputs.items()},
                batches=self._batches,
                tick=lambda _: None,
            ).layers

    def _batches(self, size: int) -> Iterator[Mapping[str, np.ndarray]]:
        for start in range(0, SAMPLES, size):
            yield {name: value[start : start + size] for name, value in self._inputs.items()}

    def _same_output(self, artifact: Artifact) -> bool:
        with self._open(self._candidate) as one, self._open(artifact) as other:
            x, y = one.run(self._inputs), other.run(self._inputs)
        return all(np.array_equal(x[name], y[name]) for name in x)

    def _open(self, artifact: Artifact) -> AbstractContextManager[Any]:
        backend = load("backends", self._case.target.backend)
        return backend.open_candidate(artifact, model=self._floating, target=self._case.target)


def _dynamic(chosen: Case, folder: Path) -> Network:
    """A candidate that needs no calibration."""
    native = load("sources", chosen.model.source).load(chosen.model, seed=chosen.run.seed)
    floating = convert(native, Format.ONNX, out_dir=folder)
    out = folder / "candidate"
    out.mkdir()
    candidate = load("quantizers", chosen.quantization.method).quantize(
        floating,
        None,
        options=chosen.quantization.options,
        target=chosen.target,
        seed=0,
        out_dir=out,
    )
    return Network(case=chosen, floating=floating, candidate=candidate)


def _db(seen: LayersObserved, which: str) -> dict[str, float]:
    found = {m.candidate: getattr(m, which) for m in seen.matches}
    return {n: v for n, s in found.items() if s is not None and (v := sqnr_db(s)) is not None}


def _channels(seen: LayersObserved) -> dict[str, float]:
    return {
        m.candidate: v
        for m in seen.matches
        if m.isolated is not None and (v := worst_channel_nmse_percent(m.isolated)) is not None
    }
