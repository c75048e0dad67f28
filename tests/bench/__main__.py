"""Run the benchmarks named on the command line (all by default) and print their table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from dataclasses import asdict

from tabulate import tabulate

from tests.bench.harness import ROOT, Row

# name -> what it compares; each is a module of this package with run() -> list[Row].
BENCHES = {
    "startup": "command line, lint and pytest start-up",
    "accuracy": "exact error of the accuracy verdict against Wald's and Newcombe's intervals",
    "layers": "per-layer comparison against ONNX Runtime's qdq_loss_debug",
    "localisation": "planted faults: how often isolated and cumulative errors name the layer",
    "scale": "plans of 10 000 cases and merges of as many results",
    "kills": "kills at random moments of baseline writes",
    "traces": "recorded latencies: usual methods against the paired, sequential decision",
    "latency": "live latency verdicts under busy loops",
    "drill": "planted faults caught, layers named, false alarms of healthy reruns",
    "case": "a whole case against the bare loops it cannot avoid",
}


def main() -> int:
    """Run, print and store; exit 1 where a target is missed, so that it is seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME")
    parser.add_argument("--runs", type=int, help="live latency verdicts (default: a few)")
    args = parser.parse_args()
    if args.runs is not None:
        os.environ["GATE_BENCH_RUNS"] = str(args.runs)
    names = args.names or list(BENCHES)
    rows: list[Row] = []
    for name in names:
        print(f"bench {name}: {BENCHES[name]} ...", flush=True)
        rows += importlib.import_module(f"tests.bench.{name}").run()
    print(
        tabulate(
            [
                (
                    row.bench,
                    row.what,
                    f"{row.ours:.4g} {row.unit}",
                    "-" if row.absolute else f"{row.other:.4g} {row.unit}",
                    "-" if row.absolute else f"{row.ratio:.3f}",
                    row.target,
                    "met" if row.met else "MISSED",
                    row.note,
                )
                for row in rows
            ],
            headers=("bench", "what", "gate", "other", "ratio", "target", "", "note"),
        )
    )
    folder = ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    record = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
    (folder / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
