"""Start-up costs: ``gate --help``, ``gate lint``, a thousand specs, and pytest with the plugin unused."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.harness import ROOT, Row, interleaved_medians, wall_seconds

ROUNDS = 15


def run() -> list[Row]:
    """Whole-process wall times; medians of rounds taken in turns."""
    gate = str(Path(sys.executable).with_name("gate"))
    spec = ROOT / "specs" / "digits_cnn.yaml"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        pytest += ["-c", "/dev/null", "--rootdir", folder, str(place / "test_nothing.py")]
        medians = interleaved_medians(
            {
                "bare": [sys.executable, "-c", "pass"],
                "help": [gate, "--help"],
                "lint": [gate, "lint", str(spec)],
                "with": pytest,
                "without": [*pytest, "-p", "no:quantgate"],
            },
            rounds=ROUNDS,
        )
    for name, what in (("help", "gate --help"), ("lint", "gate lint, one spec")):
        rows.append(
            Row(
                bench="startup",
                what=what,
                ours=medians[name],
                other=medians["bare"],
                unit="s",
                target="<= 0.25 s",
                limit=0.25,
                absolute=True,
                note=f"bare interpreter {medians['bare']:.3f} s",
            )
        )
    rows.append(
        Row(
            bench="startup",
            what="pytest, plugin installed and unused: extra time",
            ours=max(0.0, medians["with"] - medians["without"]) * 1000,
            other=medians["without"] * 1000,
            unit="ms",
            target="<= 20 ms",
            limit=20.0,
            absolute=True,
            note=f"pytest without it {medians['without']:.3f} s",
        )
    )
    rows.append(_thousand_specs(gate, spec))
    return rows


def _thousand_specs(gate: str, spec: Path) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        specs = Path(folder) / "specs"
        shutil.copytree(ROOT / "specs", specs)
        for path in specs.glob("*.yaml"):
            path.unlink()
        for index in range(1000):
            shutil.copy(spec, specs / f"digits_{index:04d}.yaml")
        text = (ROOT / "pyproject.toml").read_text()
        (Path(folder) / "pyproject.toml").write_text(text)
        seconds = min(wall_seconds([gate, "lint", str(specs)], cwd=Path(folder)) for _ in range(3))
    return Row(
        bench="startup",
        what="gate lint, 1000 specs",
        ours=seconds,
        other=1.0,
        unit="s",
        target="<= 5 s",
        limit=5.0,
        absolute=True,
    )
