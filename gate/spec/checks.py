"""What the schema cannot say: names that must match something, pairs that must be possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from gate.core.findings import FINDINGS
from gate.core.probes import ProbeSpec
from gate.core.spec import Override, Spec
from gate.core.status import Tier
from gate.core.task import CLASSIFICATION, Task
from gate.core.tolerance import Tolerance
from gate.metrics.catalogue import BY_NAME
from gate.spec import formats
from gate.spec.conflicts import check_options
from gate.spec.diagnostics import Diagnostic, name_or_list, one_of, shown
from gate.spec.matrix import Pair, demanded, matches, overrides_of, probes_of, wanted_pairs
from gate.spec.nodes import Mapping, Node, Path, Scalar, Sequence, at, child, dotted, key_position
from gate.spec.tasks import DECODINGS
from gate.spec.ways_out import ways_out

_AXES = {"quantization": "quantizations", "target": "targets"}
_CLASSES = frozenset(
    {"top1", "top5", "top1_drop", "top5_drop", "top1_agreement", "kl_divergence", "new_flips"}
)
_OVERRIDES: Path = ("tolerances", "overrides")


def check_globs(root: Node) -> Iterator[Diagnostic]:
    """Every glob of ``matrix`` and of the overrides matches a name. Needs no schema-clean document."""
    places: list[tuple[Path, Node]] = []
    for key in ("include", "exclude"):
        places.extend(_numbered(root, ("matrix", key)))
    places.extend(
        ((*path, "when"), when)
        for path, item in _numbered(root, _OVERRIDES)
        if (when := child(item, "when")) is not None
    )
    for path, pair in places:
        for axis, section in _AXES.items():
            glob = child(pair, axis)
            known = child(root, section)
            if not isinstance(glob, Scalar) or not isinstance(glob.value, str):
                continue
            if not isinstance(known, Mapping) or not glob.value:
                continue
            if not any(fnmatchcase(name, glob.value) for name in known.entries):
                yield Diagnostic(
                    position=glob.position,
                    path=dotted((*path, axis)),
                    message=f"'{shown(glob.value)}' matches none of the {section}",
                    hint=name_or_list(glob.value, known.entries),
                )


def check_spec(spec: Spec, root: Node) -> list[Diagnostic]:
    """What is wrong with a spec that follows the schema."""
    pairs = list(wanted_pairs(spec))
    if not pairs:
        return [_fault(root, ("matrix",), "leaves no pair of quantization and target")]
    return [
        *_calibration(spec, root, pairs),
        *_impossible(spec, root, pairs),
        *check_options(spec, root, pairs),
        *_overrides(spec, root, pairs),
        *_demands(spec, root, pairs),
        *_task(spec, root),
        *_probes(spec),
    ]


def check_together(specs: Iterable[Spec]) -> Iterator[Diagnostic]:
    """Ids are distinct over all files: cases and baselines are known by them."""
    first: dict[str, Spec] = {}
    for spec in specs:
        other = first.setdefault(spec.id, spec)
        if other is not spec and spec.where is not None:
            yield Diagnostic(
                position=spec.where,
                path="id",
                message=f"the id '{spec.id}' is already that of {other.path}",
                hint="the id is the file's stem where none is given",
            )


def _fault(root: Node, path: Path, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(
        position=key_position(root, path), path=dotted(path), message=message, hint=hint
    )


def _numbered(root: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    node: Node | None = root
    for key in path:
        node = child(node, str(key)) if node is not None else None
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield (*path, index), item


def _calibration(spec: Spec, root: Node, pairs: list[Pair]) -> Iterator[Diagnostic]:
    if spec.data.calibration is not None:
        return
    for name in dict.fromkeys(quantization.name for quantization, _ in pairs):
        quantization = next(q for q in spec.quantizations if q.name == name)
        if formats.needs_calibration(quantization.method, quantization.options):
            yield _fault(
                root,
                ("quantizations", name),
                f"{quantization.method} needs calibration samples",
                "give data.calibration",
            )


def _impossible(spec: Spec, root: Node, pairs: list[Pair]) -> Iterator[Diagnostic]:
    """A quantization or a target that takes part in no possible case."""
    reasons = {
        (quantization.name, target.name): formats.mismatch(spec.model, quantization, target)
        for quantization, target in pairs
    }
    for axis, (section, names) in enumerate(
        (
            ("quantizations", [q.name for q in spec.quantizations]),
            ("targets", [t.name for t in spec.targets]),
        )
    ):
        for name in names:
            own = [reason for pair, reason in reasons.items() if pair[axis] == name]
            if not own:
                yield _fault(root, (section, name), "the matrix leaves no pair with it")
            elif all(own):
                why = "; ".join(dict.fromkeys(reason for reason in own if reason))
                involved = [pair for pair in pairs if pair[axis].name == name]
                hint = ways_out(spec.model, *zip(*involved, strict=True))
                yield _fault(root, (section, name), f"no pair with it can exist: {why}", hint)


def _overrides(spec: Spec, root: Node, pairs: list[Pair]) -> Iterator[Diagnostic]:
    for index, override in enumerate(spec.overrides):
        path = (*_OVERRIDES, index)
        if not (override.expect_fail or override.tolerances or override.drop or override.probes):
            yield _fault(root, path, "changes nothing", "give expect, tolerances, probes or drop")
        chosen = [
            (q.name, t.name)
            for q, t in pairs
            if matches((q.name, t.name), (override.quantization, override.target))
        ]
        if not chosen:
            yield _fault(root, (*path, "when"), "the matrix leaves no pair that it matches")
            continue
        yield from _names_of(spec, root, index, override, chosen)


def _names_of(
    spec: Spec, root: Node, index: int, override: Override, chosen: list[tuple[str, str]]
) -> Iterator[Diagnostic]:
    """Metrics that an override names are demanded of some case that it changes."""
    before: set[str] = set(FINDINGS)
    after: set[str] = {name.partition(".")[2] for name in FINDINGS}
    for quantization, target in chosen:
        all_of_pair = overrides_of(spec, quantization, target)
        place = all_of_pair.index(override)
        before |= {f"{t.tier}.{t.metric}" for t in demanded(spec.tolerances, all_of_pair[:place])}
        after |= {t.metric for t in demanded(spec.tolerances, all_of_pair)}
        before |= {f"{Tier.NUMERICAL}.{p.rule}" for p in probes_of(spec, all_of_pair[:place])}
        after |= {p.rule for p in probes_of(spec, all_of_pair)}
    path = (*_OVERRIDES, index)
    checks: tuple[tuple[str, tuple[str, ...], Callable[[str], bool]], ...] = (
        ("drop", override.drop, before.__contains__),
        ("metrics", override.expect_metrics, after.__contains__),
    )
    for key, names, known in checks:
        for place, name in enumerate(names):
            if not known(name):
                message = f"{name} is not demanded of the cases that this override changes"
                where = (*path, key, place)
                yield Diagnostic(
                    position=at(root, where).position, path=dotted(where), message=message
                )


def _demands(spec: Spec, root: Node, pairs: list[Pair]) -> Iterator[Diagnostic]:
    for quantization, target in pairs:
        overrides = overrides_of(spec, quantization.name, target.name)
        if not demanded(spec.tolerances, overrides):
            name = f"{quantization.name}@{target.name}"
            yield _fault(root, ("tolerances",), f"nothing is demanded of {name}")


def _task(spec: Spec, root: Node) -> Iterator[Diagnostic]:
    """Metrics that the task does not have, and a decoding that it has no use for."""
    task = spec.model.task
    if spec.model.decoding and task not in DECODINGS:
        yield _fault(root, ("model", "decoding"), f"the task {task} has no decoding")
    if "speakers" in spec.data.evaluation.options and task != Task.TRANSCRIPTION:
        message = f"the task {task} has no speakers, only {Task.TRANSCRIPTION} has"
        yield _fault(root, ("data", "evaluation", "speakers"), message)
    places: list[tuple[Path, Iterable[Tolerance]]] = [(("tolerances",), spec.tolerances)]
    places += [
        ((*_OVERRIDES, index, "tolerances"), override.tolerances)
        for index, override in enumerate(spec.overrides)
    ]
    for path, tolerances in places:
        for tolerance in tolerances:
            message = _foreign(tolerance, task)
            if message and tolerance.where is not None:
                yield Diagnostic(
                    position=tolerance.where,
                    path=dotted((*path, tolerance.tier.value, tolerance.metric)),
                    message=message,
                )


def _foreign(tolerance: Tolerance, task: str) -> str:
    """Why the task does not have what is demanded; empty where it does."""
    name = tolerance.metric
    if name in _CLASSES and task not in {*CLASSIFICATION, Task.OTHER}:
        return f"{name} needs classes, the task is {task}"
    info = BY_NAME.get((tolerance.tier, name))
    if info is None or not info.tasks or task in info.tasks:
        return ""
    return f"{name} is a metric of {one_of(sorted(info.tasks))}, the task is {task}"


_SHAPES = ("smallest", "largest")
_IMAGES = ("borders", "channels_last")


def _probes(spec: Spec) -> Iterator[Diagnostic]:
    """Probes that no input of the model gives a meaning."""
    inputs = spec.model.inputs.values()
    ranged = any(one.ranges for one in inputs)
    images = any(len(one.shape) in {4, 5} for one in inputs)
    places: list[tuple[Path, Iterable[ProbeSpec]]] = [(("probes",), spec.probes)]
    places += [
        ((*_OVERRIDES, index, "probes"), override.probes)
        for index, override in enumerate(spec.overrides)
    ]
    for path, probes in places:
        for probe in probes:
            where = next((bound.where for bound in probe.bounds), None)
            message, hint = "", ""
            if probe.name in _SHAPES and not ranged:
                message = f"{probe.name} needs a dynamic axis with limits, and no input has one"
                hint = "write it as {axis: H, min: 32, max: 512} in the input's shape"
            elif probe.name in _IMAGES and not images:
                message = f"{probe.name} needs an input of four or five axes"
            if message and where is not None:
                yield Diagnostic(
                    position=where, path=dotted((*path, probe.name)), message=message, hint=hint
                )
