"""Options of a quantization that contradict one another, or a target: said before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from gate import plugins
from gate.core.spec import QuantizationSpec, Spec, TargetSpec
from gate.spec import choosing, formats
from gate.spec.diagnostics import Diagnostic
from gate.spec.nodes import Node, Path, Sequence, at, dotted, key_position


def check_options(
    spec: Spec, root: Node, pairs: Iterable[tuple[QuantizationSpec, TargetSpec]]
) -> Iterator[Diagnostic]:
    """What each method refuses of its options, for the targets that it can run on."""
    refused: dict[tuple[Path, str, str], list[str]] = {}
    possible: Counter[Path] = Counter()
    for quantization, target in pairs:
        for path, method in _methods(quantization, root):
            if formats.mismatch(spec.model, method, target):
                continue
            possible[path] += 1
            quantizer: Any = plugins.load("quantizers", method.method)
            if not hasattr(quantizer, "refused"):
                continue
            if found := quantizer.refused(method.options, target):
                refused.setdefault((path, *found), []).append(target.name)
    for (path, option, message), targets in refused.items():
        place = (*path, *option.split("."))
        some = len(targets) < possible[path]
        yield Diagnostic(
            position=key_position(root, place),
            path=dotted(place),
            message=f"{message}, on {', '.join(targets)}" if some else message,
            hint="matrix: exclude leaves a pair out" if some else "",
        )


def _methods(quantization: QuantizationSpec, root: Node) -> Iterator[tuple[Path, QuantizationSpec]]:
    """The quantization itself, or what it chooses from, each with its place in the spec."""
    path: Path = ("quantizations", quantization.name)
    if not choosing.chooses(quantization.method):
        yield path, quantization
        return
    inner = (*path, choosing.NESTED[quantization.method])
    several = isinstance(at(root, inner), Sequence)
    for index, one in enumerate(choosing.alternatives(quantization)):
        yield (*inner, index) if several else inner, one
