"""Nodes under ``tolerances`` -> ``Tolerance`` values, with every mistake at its place."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as NameMapping
from typing import TypeAlias

from gate.core.status import Tier
from gate.core.tolerance import Mode, Tolerance
from gate.metrics.catalogue import BY_NAME, MetricInfo
from gate.metrics.certificate import may_certify
from gate.spec.diagnostics import Diagnostic, did_you_mean, name_or_list, one_of, shown
from gate.spec.grammar import GrammarError, example, parse_bound
from gate.spec.nodes import Mapping, Node, Path, Scalar, Sequence, dotted, plain
from gate.spec.tasks import CUSTOM_KEY
from gate.spec.validate import describe

CustomTable: TypeAlias = NameMapping[str, MetricInfo]

_KEYS = ("bound", "subjects", "mode")


class TolerancesReader:
    """Reads tiers of tolerances; tiers, metrics and keys that do not exist are the schema's matter."""

    def __init__(self, custom: CustomTable | None = None) -> None:
        """``custom`` are the metrics that the document declares itself, by name."""
        self._custom = custom or {}
        self.diagnostics: list[Diagnostic] = []

    def read(self, node: Node | None, path: Path) -> tuple[Tolerance, ...]:
        """All tolerances of ``node``, a mapping from tier to metric to demand, in order."""
        found: list[Tolerance] = []
        if not isinstance(node, Mapping):
            return ()
        for tier in Tier:
            metrics = node.entries.get(tier.value)
            if not isinstance(metrics, Mapping):
                continue
            for name, demand in metrics.entries.items():
                info = BY_NAME.get((tier, name))
                if info is not None:
                    found.extend(self.metric(demand, info, (*path, tier.value, name)))
                elif tier is Tier.DEVICE and name == CUSTOM_KEY and isinstance(demand, Mapping):
                    found.extend(self._declared(demand, (*path, tier.value, name)))
        return tuple(found)

    def _declared(self, node: Mapping, path: Path) -> Iterator[Tolerance]:
        for name, demand in node.entries.items():
            info = self._custom.get(name)
            if info is not None:
                yield from self.metric(demand, info, (*path, name))
                continue
            known = list(self._custom)
            hint = name_or_list(name, known) if known else "declare it under metrics"
            self.diagnostics.append(
                Diagnostic(
                    position=node.keys[name],
                    path=dotted((*path, name)),
                    message=f"no metric '{shown(name)}' is declared",
                    hint=hint,
                )
            )

    def metric(self, node: Node, info: MetricInfo, path: Path) -> Iterator[Tolerance]:
        """The bound or bounds that ``node`` demands of one metric."""
        if not isinstance(node, Sequence):
            yield from self._one(node, info, path)
            return
        if not node.items:
            self._report(node, path, "must not be empty")
        seen: dict[tuple[str | None, str, Mode], int] = {}
        for index, item in enumerate(node.items):
            for tolerance in self._one(item, info, (*path, index)):
                identity = (
                    tolerance.subjects,
                    " ".join(tolerance.text.split()),
                    tolerance.mode,
                )
                if identity in seen:
                    first = f"[{seen[identity]}]"
                    self._report(item, (*path, index), f"the same as {first} of this list")
                    continue
                seen[identity] = index
                yield tolerance

    def _one(self, node: Node, info: MetricInfo, path: Path) -> Iterator[Tolerance]:
        subjects: str | None = None
        mode = Mode.AUTO
        bound, bound_path = node, path
        if isinstance(node, Mapping):
            subjects = self._subjects(node, info, path)
            mode = self._mode(node, info, path)
            if "bound" not in node.entries:
                self._report(node, path, "the key 'bound' is missing")
                return
            bound, bound_path = node.entries["bound"], (*path, "bound")
        if not isinstance(bound, Scalar):
            self._unreadable(bound, info, bound_path)
            return
        text = "true" if bound.value is True else bound.value
        if not isinstance(text, str):
            self._unreadable(bound, info, bound_path)
            return
        try:
            parsed = parse_bound(text, info)
        except GrammarError as error:
            self._report(bound, bound_path, str(error), error.hint)
            return
        tolerance = Tolerance(
            tier=info.tier,
            metric=info.name,
            op=parsed.op,
            anchor=parsed.anchor,
            value=parsed.value,
            relative=parsed.relative,
            subjects=subjects,
            text=text,
            mode=mode,
            where=bound.position,
        )
        if mode is Mode.CERTIFY and not may_certify(tolerance):
            self._report(
                bound,
                bound_path,
                "only an upper bound between 0 and 100 pp can be certified"
                if info.unit == "pp"
                else "only an upper bound above 0 can be certified",
                "mode: exact compares the measured drop, also with the baseline's",
            )
            return
        yield tolerance

    def _mode(self, node: Mapping, info: MetricInfo, path: Path) -> Mode:
        written = node.entries.get("mode")
        if written is None:
            return Mode.AUTO
        value = plain(written)
        if not info.has_interval:
            message = f"{info.name} has no mode, only differences such as top1_drop have"
            self._report(written, (*path, "mode"), message)
        elif value in tuple(Mode):
            return Mode(value)
        else:
            message = f"expected {one_of(list(Mode))}, found {describe(value)}"
            near = did_you_mean(value, list(Mode)) if isinstance(value, str) else ""
            self._report(written, (*path, "mode"), message, near)
        return Mode.AUTO

    def _subjects(self, node: Mapping, info: MetricInfo, path: Path) -> str | None:
        for key in node.entries:
            if key not in _KEYS:
                self.diagnostics.append(
                    Diagnostic(
                        position=node.keys[key],
                        path=dotted((*path, key)),
                        message=f"unknown key '{key}'",
                        hint=did_you_mean(key, _KEYS) or "expected bound, subjects or mode",
                    )
                )
        subjects = node.entries.get("subjects")
        if subjects is None:
            return None
        value = plain(subjects)
        if not isinstance(value, str) or not value:
            self._report(subjects, (*path, "subjects"), f"expected a glob, found {describe(value)}")
            return None
        if info.subject == "case":
            self._report(
                subjects,
                (*path, "subjects"),
                f"{info.name} is one value a case, it has no subjects",
            )
        return value

    def _unreadable(self, node: Node, info: MetricInfo, path: Path) -> None:
        if info.unit == "bool":
            message = f"{info.name} is met or not: expected true or equal"
            hint = "leave the key out where it is not demanded" if plain(node) is False else ""
            self._report(node, path, f"{message}, found {describe(plain(node))}", hint)
            return
        self._report(
            node,
            path,
            f"expected a tolerance, found {describe(plain(node))}",
            f"for example {example(info)}",
        )

    def _report(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        self.diagnostics.append(
            Diagnostic(position=node.position, path=dotted(path), message=message, hint=hint)
        )
