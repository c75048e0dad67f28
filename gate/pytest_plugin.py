"""pytest plugin: with ``--gate``, spec files are collected and every tier of every case is an item.

Without the option it declares its options and does nothing else: everything beyond pytest is imported
where it is first needed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gate.baseline.store import BaselineStore
    from gate.core.case import Case, NotApplicable
    from gate.core.result import CaseResult
    from gate.core.status import Tier
    from gate.core.verdict import Verdict
    from gate.run.shared import SharedRuns

_SUFFIXES = (".yaml", ".yml", ".json")
_SESSION = "quantgate-session"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("gate", "quantization gate (quantgate)")
    group.addoption(
        "--gate", action="store_true", help="gate the spec files found under the given arguments"
    )
    group.addoption(
        "--gate-baselines", metavar="DIR", help="folder of baselines (default: baselines/)"
    )
    group.addoption(
        "--gate-no-cache", action="store_true", help="neither read nor keep cached artifacts"
    )
    group.addoption(
        "--gate-select",
        action="append",
        default=[],
        metavar="GLOB",
        help="only cases whose id (spec/quantization@target) matches; may be given several times",
    )
    group.addoption(
        "--gate-allow-inconclusive",
        action="store_true",
        help="skip, rather than fail, a tier whose verdict is inconclusive",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take part in the session only where ``--gate`` asks for it."""
    if config.getoption("--gate"):
        config.pluginmanager.register(_GateSession(config), _SESSION)


class TierNotPassedError(Exception):
    """A tier that did not pass; its text is the report of the item."""


class _GateSession:
    """Hooks and shared state of one pytest process of a session with ``--gate``.

    Under xdist the controller makes one folder for all processes; whoever is first at a case runs it
    under a lock, and the others read its result there.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._owner = worker is None
        self._processes = int(worker["workercount"]) if worker is not None else 1
        self._folder = Path(
            worker["gate_folder"] if worker is not None else tempfile.mkdtemp(prefix="gate-pytest-")
        )
        self._verdicts: dict[str, Verdict] = {}
        self._spec_paths: dict[str, Path] = {}
        self._globs_used: set[str] = set()
        self._mistake = ""
        self.order: list[str] = []
        """Ids of the collected cases."""
        self.not_applicable: list[tuple[str, str]] = []
        """Ids and reasons."""

    # --- collecting ---------------------------------------------------------------------------

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """Take spec files; shared fragments and hidden files only where named themselves."""
        if file_path.suffix not in _SUFFIXES:
            return None
        if not parent.session.isinitpath(file_path) and _is_fragment(file_path, self._config):
            return None
        made: pytest.Collector = GateFile.from_parent(parent, path=file_path, gate=self)
        return made

    def load(self, path: Path) -> tuple[tuple[Case, ...], tuple[NotApplicable, ...]]:
        """Cases of one spec file that ``--gate-select`` leaves.

        Raises:
            SpecError: mistakes in the file, or an id that another file has too.
        """
        from gate.spec.diagnostics import SpecError, whole_file
        from gate.spec.load import load_specs
        from gate.spec.matrix import plan

        name = Path(os.path.relpath(path)).as_posix()
        specs = load_specs([name])
        for spec in specs:
            other = self._spec_paths.setdefault(spec.id, path)
            if other != path:
                raise SpecError([whole_file(name, f"the id '{spec.id}' is that of {other} too")])
        found = plan(specs)
        return (
            tuple(case for case in found.cases if self._selected(case.id)),
            tuple(pair for pair in found.not_applicable if self._selected(pair.id)),
        )

    def _selected(self, case_id: str) -> bool:
        globs = self._config.getoption("--gate-select")
        hits = {glob for glob in globs if fnmatchcase(case_id, glob)}
        self._globs_used |= hits
        return bool(hits) or not globs

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session) -> None:
        """A selection that selects nothing is a mistake (unless files could not be read)."""
        unused = [g for g in self._config.getoption("--gate-select") if g not in self._globs_used]
        if unused and not session.testsfailed:
            self._mistake = f"--gate-select: no case matches {', '.join(map(repr, unused))}"
            raise pytest.UsageError(self._mistake)

    # --- running ------------------------------------------------------------------------------

    def verdict(self, case: Case) -> Verdict:
        """Verdict of a case, which runs at most once a session."""
        if case.id not in self._verdicts:
            self._verdicts[case.id] = self._judged(self._runs().result(case))
        return self._verdicts[case.id]

    def _runs(self) -> SharedRuns:
        from gate.run.artifacts import default_artifacts_dir
        from gate.run.settings import default_cache_dir
        from gate.run.shared import SharedRuns
        from gate.spec.project import project_root

        cached = not self._config.getoption("--gate-no-cache")
        return SharedRuns(
            folder=self._folder,
            cache_dir=default_cache_dir(project_root()) if cached else None,
            baselines_dir=self._store().root.absolute(),
            artifacts_dir=default_artifacts_dir(project_root()),
            processes=self._processes,
        )

    def _judged(self, result: CaseResult) -> Verdict:
        from gate.report.verdicts import judged

        return judged(result, self._store())

    def _store(self) -> BaselineStore:
        from gate.baseline.store import BaselineStore
        from gate.spec.project import project_root

        folder = self._config.getoption("--gate-baselines")
        return BaselineStore(Path(folder or project_root() / "baselines"))

    # --- xdist, where it is installed ---------------------------------------------------------

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where all of them meet."""
        node.workerinput["gate_folder"] = str(self._folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker collected; all of them collect the same."""
        told = getattr(node, "workeroutput", None) or {}
        self.order = self.order or told.get("gate_order", [])
        self.not_applicable = self.not_applicable or told.get("gate_not_applicable", [])
        self._mistake = self._mistake or told.get("gate_mistake", "")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the controller what was collected, and what it would not hear of otherwise."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["gate_order"] = self.order
            output["gate_not_applicable"] = [list(pair) for pair in self.not_applicable]
            output["gate_mistake"] = self._mistake
        elif self._mistake:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    # --- reporting ----------------------------------------------------------------------------

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table of all cases that ran."""
        if self._mistake and self._config.pluginmanager.has_plugin("dsession"):
            # Without xdist pytest shows it itself.
            terminalreporter.write_line(f"ERROR: {self._mistake}", red=True)
        if not self.order:
            return
        from gate.core.case import NotApplicable
        from gate.report.style import Style
        from gate.report.table import render

        results = self._runs().finished(self.order)
        if not results:
            return
        verdicts = [self._judged(result) for result in results]
        writer = self._config.get_terminal_writer()
        terminalreporter.section("gate")
        terminalreporter.write(
            render(
                verdicts,
                results,
                not_applicable=[NotApplicable(id=i, reason=r) for i, r in self.not_applicable],
                style=Style(width=writer.fullwidth, colour=writer.hasmarkup),
                explained=False,
            )
        )
        for line in self._record(results, verdicts):
            terminalreporter.write_line(line)

    def _record(self, results: Sequence[CaseResult], verdicts: Sequence[Verdict]) -> list[str]:
        """First baselines where a spec asks for it; each case ran whole, whatever was selected."""
        from gate.baseline.errors import BaselineError
        from gate.baseline.record import record_first
        from gate.spec.project import project_root

        try:
            return record_first(results, verdicts, self._store(), project_root())
        except BaselineError as error:
            return [f"no baseline recorded: {error}"]

    def pytest_unconfigure(self) -> None:
        """Remove the folder that all processes shared."""
        if self._owner:
            shutil.rmtree(self._folder, ignore_errors=True)


class GateFile(pytest.File):
    """One spec file."""

    def __init__(self, *, gate: _GateSession, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate

    def collect(self) -> Iterator[pytest.Collector]:
        """One collector a case; mistakes in the spec are shown as they are by ``gate lint``."""
        from gate.spec.diagnostics import SpecError

        try:
            cases, others = self._gate.load(self.path)
        except SpecError as error:
            raise self.CollectError(str(error)) from None
        self._gate.order.extend(case.id for case in cases)
        self._gate.not_applicable.extend((pair.id, pair.reason) for pair in others)
        for case in cases:
            pair = case.id.partition("/")[2]
            yield GateCase.from_parent(self, name=pair, gate=self._gate, case=case)


class GateCase(pytest.Collector):
    """One case; ``--dist loadscope`` of xdist keeps its tiers in one process."""

    def __init__(self, *, gate: _GateSession, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate
        self._case = case

    def collect(self) -> Iterator[pytest.Item]:
        """One item a tier that the case demands something of."""
        from gate.report.tiers import shown_tiers

        for tier in shown_tiers(self._case):
            item = GateItem.from_parent(
                self, name=tier.value, gate=self._gate, case=self._case, tier=tier
            )
            if self.config.pluginmanager.has_plugin("timeout"):
                # The engine has the spec's own time limit; a second one would end pytest itself.
                item.add_marker(pytest.mark.timeout(0))
            yield item


class GateItem(pytest.Item):
    """One tier of one case."""

    def __init__(self, *, gate: _GateSession, case: Case, tier: Tier, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gate = gate
        self._case = case
        self._tier = tier

    def runtest(self) -> None:
        """Run the case where that has not happened, and pass, skip or fail by this tier."""
        from gate.core.status import Status
        from gate.report.item import decisive, failure_text, properties, skip_reason
        from gate.report.tiers import shown_tiers, tier_outcomes

        verdict = self._gate.verdict(self._case)
        parts = tier_outcomes(verdict, shown_tiers(self._case))
        part = next(part for part in parts if part.tier is self._tier)
        self.user_properties.extend(properties(part))
        if part.expected:
            self.add_report_section("call", "gate", part.note)
        if part.status in (Status.SKIPPED, Status.NOT_COMPARABLE):
            # Told at the place in the spec, not at this line.
            raise pytest.skip.Exception(skip_reason(part), _use_item_location=True)
        if part.status is Status.INCONCLUSIVE and self.config.getoption(
            "--gate-allow-inconclusive"
        ):
            reason = f"inconclusive, which is allowed: {decisive(part)}"
            raise pytest.skip.Exception(reason, _use_item_location=True)
        if part.status is not Status.PASS:
            raise TierNotPassedError(failure_text(verdict, part))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report of a tier that did not pass, and one line for a user's mistake."""
        from gate.baseline.errors import BaselineError
        from gate.run.settings import InfrastructureError

        if isinstance(excinfo.value, TierNotPassedError | BaselineError | InfrastructureError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """The file, the line of the tier's first demand (from zero), and the case."""
        wheres = (t.where for t in self._case.tolerances if t.tier is self._tier)
        line = next((where.line - 1 for where in wheres if where is not None), 0)
        return self.path, line, f"{self._case.id} {self._tier}"


def _is_fragment(path: Path, config: pytest.Config) -> bool:
    """Whether ``gate run`` would leave this file of a folder out."""
    root = config.rootpath
    parts = path.relative_to(root).parts if path.is_relative_to(root) else (path.name,)
    return any(part.startswith(("_", ".")) for part in parts)
