"""The steps of the action: everything that is more than a line of YAML. Standard library only.

Inputs come as environment variables (``GATE_*``), never as text in a script; outputs go to the file
that ``GITHUB_OUTPUT`` names.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

VERDICTS = {
    0: "pass",
    1: "fail",
    2: "spec-error",
    3: "error",
    4: "inconclusive",
    130: "interrupted",
}
POLICIES = ("require", "allow-inconclusive")
BASELINES = ("require", "record", "ignore")


class InputError(Exception):
    """An input that makes no sense; the message is for the user."""


def main(arguments: Sequence[str]) -> int:
    """Run one step."""
    steps = {"install": install, "gate": gate, "decide": decide, "required": required}
    if len(arguments) != 1 or arguments[0] not in steps:
        print(f"usage: gate_action.py {'|'.join(steps)}", file=sys.stderr)
        return 2
    try:
        return steps[arguments[0]]()
    except InputError as error:
        fail(str(error))
        return 2


def install() -> int:
    """Install the gate from this repository, with the extras that are wanted and what the HTML
    report needs, which the action always writes."""
    root = Path(__file__).resolve().parents[3]
    extras = list(dict.fromkeys([*given("GATE_EXTRAS").replace(",", " ").split(), "html"]))
    if not all(part.replace("-", "").isalnum() for part in extras):
        raise InputError(f"extras: expected names separated by commas, found '{','.join(extras)}'")
    constraints = given("GATE_CONSTRAINTS")
    if not constraints:
        own = Path("constraints.txt")
        constraints = str(own.absolute() if own.is_file() else root / own)
    if not Path(constraints).is_file():
        raise InputError(f"constraints: {constraints} is no file")
    print(
        f"installing the gate with {', '.join(extras)} at the versions of {constraints}", flush=True
    )
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    wanted = f"{root}[{','.join(extras)}]"
    return subprocess.run([*command, "-c", constraints, wanted], check=False).returncode


def gate() -> int:
    """Call the gate; its exit code becomes an output, so that the report is kept before it decides."""
    command = given("GATE_COMMAND") or "run"
    if command == "plan":
        return _plan()
    report = Path(given("GATE_REPORT") or "gate-report")
    if report.exists() and any(report.iterdir()):
        raise InputError(f"report: {report} is there already and not empty")
    report.mkdir(parents=True, exist_ok=True)
    if command == "run":
        words = ["run", *specs(), *selection(), *_run_options()]
    elif command == "merge":
        runs = given("GATE_RUNS") or fail_input("runs: name the folder of the shards")
        words = ["merge", no_option(runs)]
        if digest := given("GATE_PLAN_DIGEST"):
            words.append(f"--plan-digest={digest}")
    else:
        raise InputError(f"command: expected run, plan or merge, found '{command}'")
    code = call_gate([*words, *_reports(report), *_policy()])
    counted = counts(report / "report.json")
    # A shard may be empty; what its run says of it is the merge's to judge.
    if code == 0 and not counted and not given("GATE_SHARD"):
        fail("the gate ended well and left no report: that is no pass")
        code = 3
    output({"exit-code": str(code), "verdict": VERDICTS.get(code, "error"), "report": str(report)})
    output({"counts": json.dumps(counted, separators=(",", ":"))})
    return 0


def decide() -> int:
    """End with the gate's exit code; one that is missing is an error."""
    text = given("GATE_EXIT_CODE")
    if not text.isdecimal():
        fail("the gate has not come to an end")
        return 3
    return int(text)


def required() -> int:
    """The one required check: every planned case has a verdict, and together they pass."""
    for job in ("plan", "shards", "merge"):
        result = given(f"GATE_{job.upper()}_RESULT")
        if result != "success":
            print(f"the job '{job}' ended with '{result or 'nothing'}'")
    planned = given("GATE_CASES")
    verdict = given("GATE_VERDICT")
    try:
        judged = sum(int(number) for number in json.loads(given("GATE_COUNTS") or "{}").values())
    except (ValueError, AttributeError, TypeError):
        judged = -1
    if not planned.isdecimal() or int(planned) == 0:
        fail("no case was planned, or the plan failed")
    elif judged != int(planned):
        fail(f"{planned} cases were planned, and {max(judged, 0)} have a verdict")
    elif verdict != "pass":
        fail(f"the verdict is '{verdict or 'missing'}'")
    elif any(given(f"GATE_{job}_RESULT") != "success" for job in ("PLAN", "SHARDS", "MERGE")):
        fail("a job failed although the verdict is 'pass'")
    else:
        print(f"{planned} cases planned, {judged} judged: pass")
        return 0
    return 1


def _plan() -> int:
    text = given("GATE_SHARDS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise InputError(f"shards: expected a number from 1 to 256, found '{text}'")
    done = subprocess.run(
        [*gate_command(), "plan", *specs(), *selection(), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    code = done.returncode or _verify()
    output({"exit-code": str(code), "verdict": VERDICTS.get(code, "error")})
    if code == 0:
        plan = json.loads(done.stdout)
        cases = len(plan["cases"])
        number = max(1, min(int(text), cases))
        matrix = [f"{index}/{number}" for index in range(1, number + 1)]
        print(f"{cases} cases in {number} shards")
        output({"cases": str(cases), "matrix": json.dumps(matrix), "digest": plan["digest"]})
    return 0


def _verify() -> int:
    """Check the stored baselines, where that is wanted: readable, unedited, owned by a case."""
    wanted = given("GATE_VERIFY") or "true"
    if wanted not in {"true", "false"}:
        raise InputError(f"verify: expected true or false, found '{wanted}'")
    code = call_gate(["baseline", "verify", *specs()]) if wanted == "true" else 0
    if code:
        fail("stored baselines are damaged or belong to no case; `gate baseline verify` names them")
    return code


def _run_options() -> list[str]:
    words: list[str] = []
    if shard := given("GATE_SHARD"):
        # Shards report nothing by themselves: the merge says everything once.
        words += [f"--shard={shard}", "--no-summary", "--no-annotations"]
    if baseline := given("GATE_BASELINE"):
        if baseline not in BASELINES:
            raise InputError(f"baseline: expected {', '.join(BASELINES)}, found '{baseline}'")
        words += ["--baseline-policy", baseline]
    return words


def _reports(report: Path) -> list[str]:
    """Options for the reports; a shard leaves its run alone, which is what is merged."""
    words = ["--out", str(report / "run")]
    names = {"--json-file": "report.json", "--junit": "junit.xml", "--markdown": "report.md"}
    if not given("GATE_SHARD"):
        names |= {"--html": "report.html", "--sarif": "report.sarif", "--badge": "badge.json"}
    for option, name in names.items():
        words += [option, str(report / name)]
    return words


def _policy() -> list[str]:
    words = given("GATE_POLICY").split()
    for word in words:
        if word not in POLICIES:
            raise InputError(f"policy: expected {' or '.join(POLICIES)}, found '{word}'")
    return [f"--{word}" for word in words]


def specs() -> list[str]:
    """Paths of specs, globs replaced by what they match; one that looks like an option is none."""
    words = given("GATE_SPECS").split()
    if not words:
        raise InputError("specs: name at least one spec or folder of specs")
    return [no_option(path) for word in words for path in _matching(word)]


def _matching(word: str) -> list[str]:
    """The path itself, or the files of a glob but for shared fragments (``_*``), sorted."""
    if not glob.has_magic(word) or Path(word).exists():
        return [word]
    found = sorted(path for path in glob.glob(word) if not Path(path).name.startswith("_"))  # noqa: PTH207 - relative as given
    if not found:
        raise InputError(f"specs: '{word}' matches nothing")
    return found


def no_option(path: str) -> str:
    """A path that the command line cannot take for an option."""
    return path if not path.startswith("-") else f"./{path}"


def selection() -> list[str]:
    """``--select`` for each glob."""
    return [f"--select={glob}" for glob in given("GATE_SELECT").split()]


def counts(report: Path) -> Mapping[str, int]:
    """Counts of a JSON report; empty where there is none."""
    try:
        found: Mapping[str, int] = json.loads(report.read_bytes())["counts"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return found


def call_gate(words: Sequence[str]) -> int:
    """Run the gate with the streams of this step."""
    sys.stdout.flush()
    return subprocess.run([*gate_command(), *words], check=False).returncode


def gate_command() -> list[str]:
    """The command beside this interpreter; the module where there is none."""
    beside = shutil.which("gate", path=str(Path(sys.executable).parent))
    return [beside] if beside else [sys.executable, "-m", "gate.cli.main"]


def given(name: str) -> str:
    """An input, without white space around it."""
    return os.environ.get(name, "").strip()


def output(values: Mapping[str, str]) -> None:
    """Set outputs of this step; a value may hold anything, line breaks and delimiters included."""
    path = os.environ.get("GITHUB_OUTPUT")
    if not path:
        raise InputError("GITHUB_OUTPUT is not set: this runs as a step of GitHub Actions")
    with Path(path).open("a", encoding="utf-8", newline="\n") as file:
        for name, value in values.items():
            mark = f"gate-{uuid.uuid4().hex}"
            file.write(f"{name}<<{mark}\n{value}\n{mark}\n")


def fail(message: str) -> None:
    """An error that GitHub shows on the page of the run."""
    text = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error title=gate::{text}", flush=True)


def fail_input(message: str) -> str:
    """Raise InputError in an expression."""
    raise InputError(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
