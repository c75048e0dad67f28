"""Runs a workflow of this repository on this machine: jobs in order of their needs, a workspace each.

Steps that are commands run for real, with the environment files that GitHub gives them. Of the actions
of others only the few that the workflows use are known, by what they do to files.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.github.caches import Caches
from tests.github.expressions import condition, fill, text_of

ROOT = Path(__file__).resolve().parents[2]
FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE")


class WorkflowError(Exception):
    """A workflow that GitHub would refuse, or that asks for what this runner does not know."""


@dataclass
class Job:
    """What one job came to; a matrix is one job, whose worst instance counts."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""


@dataclass
class Steps:
    """The steps of one job or composite action while they run."""

    contexts: dict[str, Any]
    workspace: Path
    environment: dict[str, str]
    failed: bool = False
    log: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    """What actions do when the job has ended well."""

    @property
    def functions(self) -> dict[str, Callable[[], bool]]:
        return {
            "success": lambda: not self.failed,
            "failure": lambda: self.failed,
            "always": lambda: True,
            "cancelled": lambda: False,
        }


def load(path: Path) -> Any:
    """A YAML file whose ``on`` is no truth value."""
    return yaml.load(path.read_text("utf-8"), yaml.BaseLoader)  # noqa: S506 - strings alone


class Runner:
    """One run: a repository as it is checked out, an event, and the artifacts of the jobs."""

    def __init__(
        self,
        repository: Path,
        scratch: Path,
        *,
        event: Mapping[str, Any] | None = None,
        lost: Sequence[str] = (),
        path: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.repository = repository
        self.scratch = scratch
        self.artifacts: dict[str, Path] = {}
        self.caches = Caches(scratch / "caches")
        self.uploaded_sarif: list[Path] = []
        self.lost = set(lost)
        self._extra = dict(environment or {})
        self._variables = dict(variables or {})
        self._path = [*map(str, path), str(Path(sys.executable).parent)]
        self._numbers = itertools.count(1)
        self.github: dict[str, Any] = {
            "event_name": "pull_request",
            "event": dict(event or {}),
            "repository": "someone/project",
            "server_url": "https://github.example",
            "sha": "0" * 40,
            "ref": "refs/pull/7/merge",
            "ref_name": "7/merge",
            "run_id": "1",
            "token": "secret-of-the-job",
        }

    def run(
        self, name: str, inputs: Mapping[str, Any] | None = None, *, called: bool = True
    ) -> dict[str, Job]:
        """Run ``.github/workflows/<name>``, called by another workflow or by the event itself."""
        workflow = load(ROOT / ".github" / "workflows" / name)
        kind = "workflow_call" if called else self.github["event_name"]
        if kind not in workflow["on"]:
            raise WorkflowError(f"{name} does not run on {kind}")
        of_kind = workflow["on"][kind]
        # The schedule is a list; an event without inputs has no value, or one without them.
        declared = of_kind.get("inputs", {}) if isinstance(of_kind, Mapping) else {}
        jobs: dict[str, Job] = {}
        contexts = {
            "github": self.github,
            "inputs": _inputs(declared, inputs or {}),
            "vars": self._variables,
            "runner": {"os": "Linux", "arch": "X64"},
        }
        todo = dict(workflow["jobs"])
        while todo:
            ready = [name for name, job in todo.items() if set(_needs(job)) <= set(jobs)]
            if not ready:
                raise WorkflowError(f"jobs wait for each other or for nothing: {sorted(todo)}")
            for job_name in ready:
                declared_job = todo.pop(job_name)
                jobs[job_name] = self._job(job_name, declared_job, workflow, contexts, jobs)
        return jobs

    def _job(
        self,
        name: str,
        job: Mapping[str, Any],
        workflow: Mapping[str, Any],
        contexts: Mapping[str, Any],
        jobs: Mapping[str, Job],
    ) -> Job:
        needs = {
            other: {"result": jobs[other].result, "outputs": jobs[other].outputs}
            for other in _needs(job)
        }
        contexts = {**contexts, "needs": needs}
        functions = {
            "success": lambda: all(need["result"] == "success" for need in needs.values()),
            "failure": lambda: any(need["result"] == "failure" for need in needs.values()),
            "always": lambda: True,
            "cancelled": lambda: False,
        }
        if not condition(job.get("if"), contexts, functions):
            return Job(result="skipped")
        strategy = fill(job.get("strategy", {}), contexts, functions)
        done = []
        for index, cell in enumerate(_matrix(strategy.get("matrix"))):
            one = {**contexts, "matrix": cell, "strategy": {"job-index": index}}
            done.append(self._instance(f"{name}-{index}", job, workflow, one))
        failed = any(instance.result == "failure" for instance in done)
        return Job(
            result="failure" if failed else "success",
            outputs={key: value for job in done for key, value in job.outputs.items()},
            log="\n".join(instance.log for instance in done),
            summary="\n".join(instance.summary for instance in done),
        )

    def _instance(
        self,
        name: str,
        job: Mapping[str, Any],
        workflow: Mapping[str, Any],
        contexts: dict[str, Any],
    ) -> Job:
        workspace = self.scratch / f"{next(self._numbers):02d}-{name}" / "work"
        workspace.mkdir(parents=True)
        environment = self._environment(workspace)
        for level in (workflow, job):
            given = fill(level.get("env", {}), contexts, {})
            environment |= {key: text_of(value) for key, value in given.items()}
        steps = Steps(
            contexts={**contexts, "steps": {}}, workspace=workspace, environment=environment
        )
        self._run_steps(job["steps"], steps)
        for save in steps.after if not steps.failed else ():
            save()
        outputs = fill(job.get("outputs", {}), steps.contexts, {})
        return Job(
            result="failure" if steps.failed else "success",
            outputs={key: text_of(value) for key, value in outputs.items()},
            log="\n".join(steps.log),
            summary="".join(steps.summary),
        )

    def _environment(self, workspace: Path) -> dict[str, str]:
        kept = ("HOME", "LANG", "OMP_NUM_THREADS", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": os.pathsep.join([*self._path, os.environ["PATH"]]),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_REPOSITORY": self.github["repository"],
            "GITHUB_SERVER_URL": self.github["server_url"],
            "GITHUB_SHA": self.github["sha"],
            **self._extra,
        }

    def _run_steps(self, declared: Sequence[Mapping[str, Any]], steps: Steps) -> None:
        for step in declared:
            if not condition(step.get("if"), steps.contexts, steps.functions):
                continue
            given = fill(step.get("env", {}), steps.contexts, steps.functions)
            environment = {key: text_of(value) for key, value in given.items()}
            options = fill(step.get("with", {}), steps.contexts, steps.functions)
            words = {key: text_of(value) for key, value in options.items()}
            steps.log.append(f"##[group]{step.get('name', step.get('uses', 'run'))}")
            if "run" in step:
                outputs, good = self._command(step, environment, steps)
            else:
                outputs, good = self._uses(step["uses"], words, steps)
            steps.failed |= not good
            if "id" in step:
                steps.contexts["steps"][step["id"]] = {
                    "outputs": outputs,
                    "outcome": "success" if good else "failure",
                }

    def _command(
        self, step: Mapping[str, Any], environment: Mapping[str, str], steps: Steps
    ) -> tuple[dict[str, str], bool]:
        folder = self.scratch / f"files-{next(self._numbers):03d}"
        folder.mkdir()
        files = {name: folder / name.lower() for name in FILES}
        for file in files.values():
            file.touch()
        script = folder / "script.sh"
        script.write_text(step["run"])
        strict = (
            ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        )
        done = subprocess.run(
            ["bash", *strict, str(script)],
            cwd=steps.workspace,
            env={**steps.environment, **environment, **{k: str(v) for k, v in files.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        steps.log.append(done.stdout)
        steps.summary.append(files["GITHUB_STEP_SUMMARY"].read_text("utf-8"))
        steps.environment |= read_values(files["GITHUB_ENV"])
        for line in files["GITHUB_PATH"].read_text("utf-8").splitlines():
            steps.environment["PATH"] = f"{line}{os.pathsep}{steps.environment['PATH']}"
        return read_values(files["GITHUB_OUTPUT"]), done.returncode == 0

    def _uses(
        self, name: str, options: dict[str, str], steps: Steps
    ) -> tuple[dict[str, str], bool]:
        if name.startswith("$/"):
            return self._composite(ROOT / name[2:], options, steps)
        known: dict[str, Callable[[dict[str, str], Steps], bool]] = {
            "actions/checkout": self._checkout,
            "actions/setup-python": lambda *_: True,
            "actions/cache": self._cache,
            "actions/cache/restore": self._restore,
            "actions/upload-artifact": self._upload,
            "actions/download-artifact": self._download,
            "github/codeql-action/upload-sarif": self._scan,
        }
        action, _, version = name.partition("@")
        if action not in known or len(version) != 40:
            raise WorkflowError(f"{name}: not known here, or not pinned by a full SHA")
        return {}, known[action](options, steps)

    def _composite(
        self, folder: Path, options: Mapping[str, str], steps: Steps
    ) -> tuple[dict[str, str], bool]:
        action = load(folder / "action.yml")
        contexts = {
            key: steps.contexts[key] for key in ("github", "runner", "matrix", "strategy", "needs")
        }
        contexts["inputs"] = _inputs(action.get("inputs", {}), options, strings=True)
        inner = Steps(
            contexts={**contexts, "steps": {}},
            workspace=steps.workspace,
            environment={**steps.environment, "GITHUB_ACTION_PATH": str(folder)},
            log=steps.log,
            summary=steps.summary,
            after=steps.after,
        )
        self._run_steps(action["runs"]["steps"], inner)
        values = {key: item["value"] for key, item in action.get("outputs", {}).items()}
        outputs = fill(values, inner.contexts, {})
        return {key: text_of(value) for key, value in outputs.items()}, not inner.failed

    def _checkout(self, options: Mapping[str, str], steps: Steps) -> bool:
        if options.get("persist-credentials") != "false":
            raise WorkflowError("a checkout leaves its token behind")
        target = steps.workspace / options.get("path", ".")
        shutil.copytree(self.repository, target, dirs_exist_ok=True, symlinks=True)
        if (target / ".git").exists():
            # The index knows the files by what a copy changes.
            subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=target, check=True)
        return True

    def _upload(self, options: Mapping[str, str], steps: Steps) -> bool:
        name, source = options["name"], steps.workspace / options["path"]
        if name in self.artifacts and options.get("overwrite") != "true":
            raise WorkflowError(f"an artifact '{name}' is there already")
        if not source.is_dir() or not any(path.is_file() for path in source.rglob("*")):
            steps.log.append(f"::error::no files found in {options['path']}")
            return options.get("if-no-files-found") != "error"
        if name not in self.lost:
            self.artifacts[name] = self.scratch / "artifacts" / name
            shutil.rmtree(self.artifacts[name], ignore_errors=True)
            shutil.copytree(source, self.artifacts[name])
        return True

    def _download(self, options: Mapping[str, str], steps: Steps) -> bool:
        target = steps.workspace / options["path"]
        if "name" in options:
            if options["name"] not in self.artifacts:
                return False
            shutil.copytree(self.artifacts[options["name"]], target, dirs_exist_ok=True)
            return True
        target.mkdir(parents=True, exist_ok=True)
        for name, source in self.artifacts.items():
            if fnmatch.fnmatchcase(name, options["pattern"]):
                shutil.copytree(source, target / name)
        return True

    def _restore(self, options: Mapping[str, str], steps: Steps) -> bool:
        self.caches.restore(options, steps.workspace)
        return True

    def _cache(self, options: Mapping[str, str], steps: Steps) -> bool:
        steps.after.append(lambda: self.caches.save(options, steps.workspace))
        return self._restore(options, steps)

    def _scan(self, options: Mapping[str, str], steps: Steps) -> bool:
        self.uploaded_sarif.append(steps.workspace / options["sarif_file"])
        return self.uploaded_sarif[-1].is_file()


def read_values(file: Path) -> dict[str, str]:
    """``name=value`` lines and ``name<<MARK`` blocks of an environment file."""
    values: dict[str, str] = {}
    lines = iter(file.read_text("utf-8").splitlines())
    for line in lines:
        name, equals, value = line.partition("=")
        block, arrows, mark = line.partition("<<")
        if arrows and (not equals or len(block) < len(name)):
            values[block] = "\n".join(itertools.takewhile(lambda text: text != mark, lines))  # noqa: B023
        elif equals:
            values[name] = value
        elif line:
            raise WorkflowError(f"cannot read the line {line!r} of an environment file")
    return values


def _inputs(
    declared: Mapping[str, Any], given: Mapping[str, Any], *, strings: bool = False
) -> dict[str, Any]:
    unknown = set(given) - set(declared)
    if unknown:
        raise WorkflowError(f"no such input: {sorted(unknown)}")
    missing = [k for k, v in declared.items() if v.get("required") == "true" and k not in given]
    if missing:
        raise WorkflowError(f"missing inputs: {missing}")
    values = {name: item.get("default", "") for name, item in declared.items()}
    for name, item in declared.items():
        if not strings and item.get("type") == "boolean":
            values[name] = values[name] == "true"
        elif not strings and item.get("type") == "number":
            values[name] = int(values[name] or 0)
    return {**values, **given}


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _matrix(declared: Mapping[str, list[Any]] | None) -> list[dict[str, Any]]:
    if declared is None:
        return [{}]
    names = list(declared)
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*declared.values())
    ]
