"""A tree that follows the schema -> ``Spec``."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from gate import plugins
from gate.core.canonical import JsonValue, digest
from gate.core.environment import NARROWING, WIDENING, Comparability
from gate.core.spec import (
    DataSpec,
    InputSpec,
    ModelSpec,
    Override,
    Requirements,
    RunSpec,
    SampleSpec,
    Spec,
    TargetSpec,
)
from gate.core.tolerance import Tolerance
from gate.spec import schema
from gate.spec.alternatives import AlternativesReader
from gate.spec.diagnostics import Diagnostic, shown
from gate.spec.grammar import GrammarError, parse_quantity
from gate.spec.nodes import Mapping, Node, Path, Scalar, Sequence, at, child, dotted, plain
from gate.spec.paths import PathResolver
from gate.spec.probes import ProbesReader
from gate.spec.schema import NAME
from gate.spec.tasks import custom_metrics, custom_table
from gate.spec.tolerances import TolerancesReader
from gate.spec.units import FACTORS, SECONDS

_NOT_MEANING = frozenset({"$schema", "extends", "stand_in"})


def spec_id(root: Node, name: str) -> str:
    """The id that the spec gives itself, or the stem of its file."""
    written = child(root, "id")
    if isinstance(written, Scalar) and isinstance(written.value, str):
        return written.value
    return PurePosixPath(name).stem


def declared_environment(root: Node) -> frozenset[str]:
    """Variables of ``requires.env``."""
    listed = plain(child(child(root, "requires") or root, "env") or Sequence((), root.position))
    return (
        frozenset(name for name in listed if isinstance(name, str))
        if isinstance(listed, list)
        else frozenset()
    )


def content_digest(root: Mapping) -> str:
    """SHA-256 over what the spec means: no comments, no layout, no order of keys; paths as written,
    so that it is the same on every machine."""
    content = {key: plain(node) for key, node in root.entries.items() if key not in _NOT_MEANING}
    return digest(_numbers(content))


def _numbers(value: JsonValue) -> JsonValue:
    """1.0 and 1 are one number."""
    if isinstance(value, dict):
        return {key: _numbers(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Builder:
    """Builds one ``Spec``; mistakes that only show here are collected in ``diagnostics``."""

    def __init__(self, root: Mapping, name: str) -> None:
        self._root = root
        self._name = name
        self._paths = PathResolver(declared_environment(root))
        self._tolerances = TolerancesReader(custom_table(root))
        self._probes = ProbesReader()
        self._alternatives = AlternativesReader(
            root, lambda node, path: self._options(node, "quantizers", path)
        )
        self._diagnostics: list[Diagnostic] = []

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """What is wrong."""
        return [*self._diagnostics, *self._alternatives.diagnostics, *self._paths.diagnostics]

    def build(self) -> Spec:
        """The spec; of use only where there are no diagnostics."""
        root = self._root
        matrix = plain(root.entries["matrix"]) if "matrix" in root.entries else {}
        tolerances = root.entries["tolerances"]
        return Spec(
            id=self._id(),
            path=self._name,
            digest=content_digest(root),
            model=self._model(root.entries["model"]),
            data=self._data(root.entries["data"]),
            quantizations=tuple(
                self._alternatives.read(name, node) for name, node in _items(root, "quantizations")
            ),
            targets=tuple(self._target(name, node) for name, node in _items(root, "targets")),
            tolerances=self._tolerances.read(tolerances, ("tolerances",)),
            overrides=self._overrides(child(tolerances, "overrides")),
            include=_pairs(matrix.get("include", [])),
            exclude=_pairs(matrix.get("exclude", [])),
            run=self._run(child(root, "run")),
            requires=_requirements(child(root, "requires")),
            baseline_policy=_value(root, "baseline", "require"),
            probes=self._probes.read(child(root, "probes"), ("probes",)),
            comparability=_comparability(child(root, "environment")),
            on_improvement=_value(root, "on_improvement", "fail"),
            where=root.position,
            metrics=custom_metrics(root),
        )

    def _id(self) -> str:
        found = spec_id(self._root, self._name)
        if re.fullmatch(NAME, found) is None:  # one that is written was checked by the schema
            self._diagnostics.append(
                Diagnostic(
                    position=self._root.position,
                    path="id",
                    message=f"the file's stem '{shown(found)}' cannot be an id",
                    hint="give the spec an id",
                )
            )
        return found

    def _options(self, node: Node, kind: plugins.Kind, path: Path) -> dict[str, JsonValue]:
        chosen = _value(node, schema.discriminator(kind), "")
        definition = schema.option_definition(kind, chosen)
        return self._paths.options(node, definition, path, schema.reserved(kind))

    def _model(self, node: Node) -> ModelSpec:
        reference = _child(node, "reference")
        return ModelSpec(
            id=_value(node, "id", ""),
            task=_value(node, "task", ""),
            source=_value(reference, "source", ""),
            options=self._options(reference, "sources", ("model", "reference")),
            inputs={name: self._input(name, below) for name, below in _items(node, "inputs")},
            decoding=_value(node, "decoding", {}),
        )

    def _input(self, name: str, node: Node) -> InputSpec:
        """One input; the limits of its dynamic axes are kept beside its shape."""
        axes = plain(_child(node, "shape"))
        shape = tuple(axis["axis"] if isinstance(axis, dict) else axis for axis in axes)
        ranges: dict[str, tuple[int, int]] = {}
        for index, axis in enumerate(axes):
            if not isinstance(axis, dict):
                continue
            limits = (axis["min"], axis["max"])
            message = ""
            if limits[0] > limits[1]:
                message = f"the smallest size {limits[0]} is above the largest {limits[1]}"
            elif ranges.get(axis["axis"], limits) != limits:
                message = f"the axis '{shown(axis['axis'])}' has other limits before"
            if message:
                where: Path = ("model", "inputs", name, "shape", index)
                position = at(self._root, where).position
                found = Diagnostic(position=position, path=dotted(where), message=message)
                self._diagnostics.append(found)
            ranges[axis["axis"]] = limits
        return InputSpec(shape=shape, dtype=_value(node, "dtype", ""), ranges=ranges)

    def _samples(self, node: Node, path: Path) -> SampleSpec:
        return SampleSpec(
            source=_value(node, "source", ""),
            options=self._options(node, "data", path),
            samples=_value(node, "samples", None),
            skip=_value(node, "skip", 0),
            seed=_value(node, "seed", None),
        )

    def _data(self, node: Node) -> DataSpec:
        calibration = child(node, "calibration")
        preprocess = child(node, "preprocess")
        properties = schema.current()["properties"]["data"]["properties"]
        path = ("data", "preprocess")
        return DataSpec(
            evaluation=self._samples(_child(node, "evaluation"), ("data", "evaluation")),
            calibration=(
                None if calibration is None else self._samples(calibration, ("data", "calibration"))
            ),
            preprocess=(
                {}
                if preprocess is None
                else self._paths.options(preprocess, properties["preprocess"], path, frozenset())
            ),
            overlap=_value(node, "overlap", False),
        )

    def _target(self, name: str, node: Node) -> TargetSpec:
        return TargetSpec(
            name=name,
            backend=_value(node, "backend", ""),
            threads=_value(node, "threads", 1),
            dedicated=_value(node, "dedicated", False),
            options=self._options(node, "backends", ("targets", name)),
        )

    def _overrides(self, node: Node | None) -> tuple[Override, ...]:
        items = node.items if isinstance(node, Sequence) else ()
        return tuple(
            Override(
                quantization=_value(_child(item, "when"), "quantization", "*"),
                target=_value(_child(item, "when"), "target", "*"),
                because=_value(item, "because", ""),
                expect_fail=child(item, "expect") is not None,
                expect_metrics=_texts(item, "metrics"),
                tolerances=self._override_tolerances(item, index),
                drop=_texts(item, "drop"),
                probes=self._probes.read(
                    child(item, "probes"), ("tolerances", "overrides", index, "probes")
                ),
            )
            for index, item in enumerate(items)
        )

    def _override_tolerances(self, item: Node, index: int) -> tuple[Tolerance, ...]:
        path: Path = ("tolerances", "overrides", index, "tolerances")
        return self._tolerances.read(child(item, "tolerances"), path)

    def _run(self, node: Node | None) -> RunSpec:
        if node is None:
            return RunSpec()
        default = RunSpec()
        timing = child(node, "timing") or node
        own_timing = timing is not node
        return RunSpec(
            batch=_value(node, "batch", default.batch),
            layer_samples=_value(node, "layer_samples", default.layer_samples),
            timing_batch=_value(timing, "batch", default.timing_batch)
            if own_timing
            else default.timing_batch,
            timing_warmup=_value(timing, "warmup", default.timing_warmup),
            timing_rounds=_value(timing, "rounds", default.timing_rounds),
            timing_processes=_value(timing, "processes", default.timing_processes),
            timeout_seconds=self._quantity(node, "timeout", SECONDS, default.timeout_seconds),
            memory_bytes=int(self._quantity(node, "memory", FACTORS["B"], default.memory_bytes)),
            seed=_value(node, "seed", default.seed),
        )

    def _quantity(self, node: Node, key: str, table: dict[str, float], default: float) -> float:
        below = child(node, key)
        if below is None:
            return default
        try:
            return parse_quantity(str(plain(below)), table, key)
        except GrammarError as error:
            self._diagnostics.append(
                Diagnostic(
                    position=below.position,
                    path=dotted(("run", key)),
                    message=str(error),
                    hint=error.hint,
                )
            )
            return default


def _items(node: Node, key: str) -> list[tuple[str, Node]]:
    below = child(node, key)
    return list(below.entries.items()) if isinstance(below, Mapping) else []


def _child(node: Node, key: str) -> Node:
    """The value under a key that the schema demands."""
    below = child(node, key)
    if below is None:
        raise LookupError(key)
    return below


def _value(node: Node, key: str, default: Any) -> Any:
    below = child(node, key)
    return default if below is None else plain(below)


def _texts(node: Node, key: str) -> tuple[str, ...]:
    return tuple(_value(node, key, ()))


def _pairs(items: list[dict[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((item.get("quantization", "*"), item.get("target", "*")) for item in items)


def _comparability(node: Node | None) -> Comparability:
    if node is None:
        return Comparability()
    narrow, widen = _texts(node, "narrow"), _texts(node, "widen")
    # In a fixed order: the order in which a spec lists them must not make another class.
    return Comparability(
        narrow=tuple(name for name in NARROWING if name in narrow),
        widen=tuple(name for name in WIDENING if name in widen),
    )


def _requirements(node: Node | None) -> Requirements:
    if node is None:
        return Requirements()
    return Requirements(
        packages=_texts(node, "packages"),
        env=_texts(node, "env"),
        install_hint=_value(node, "install", ""),
    )
