"""Writes ``reference/systems.md`` from stored runs: ``python docs/systems.py RUN [RUN ...]``.

A run is a folder of ``gate run specs/systems/ --table``; several may hold different specs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from gate.baseline.store import BaselineStore
from gate.cli.judge import read_results
from gate.report import mode_table
from gate.report.format import seconds
from gate.report.verdicts import judged_all

PAGE = Path(__file__).parent / "reference" / "systems.md"
ROOT = Path(__file__).parent.parent
HEAD = """# Systems

The float model and each mode of every spec in `specs/systems/`, on two cores of an x86-64 machine with AVX-512 VNNI, one thread a
case. A spec whose id ends in `.stand-in` ran [its stand-in](../how-to/stand-ins.md), a narrow network trained on handwritten
digits: accuracy, drop and ratio are real, and its speed-up says little about the wide network. Speed-ups are paired with the float model, run by run in the same processes;
latencies of different rows were taken at different times and compare less. Columns beside the usual are what the spec bounds. Made by:

<!-- not executed: takes a quarter of an hour, and data that is not shipped -->
```console
GATE_DATA=... gate run specs/systems/ --jobs 2 --table --out .gate/systems
python docs/systems.py .gate/systems
```

"""


def main(runs: list[str]) -> None:
    """Judge the stored results again and write the page."""
    results = read_results([Path(run) for run in runs])
    verdicts = judged_all(results, BaselineStore(ROOT / "baselines"))
    spent: dict[str, float] = defaultdict(float)
    for result in results:
        if result.observation is not None:
            spent[result.case.spec_id] += sum(result.observation.stage_seconds.values())
    tables = mode_table.markdown(verdicts, results).replace("### ", "## ")
    rows = "\n".join(f"| {spec} | {seconds(took)} |" for spec, took in spent.items())
    PAGE.write_text(
        f"{HEAD}{tables}\n## How long each spec takes\n\n| spec | work |\n|---|--:|\n{rows}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
