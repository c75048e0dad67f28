"""What every test can rely on: one thread a library, and the real data where this machine has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("GATE_DATA") or PROJECT.parent / "shared" / "data")

# Before any framework is imported: they read these once. Tests share the machine's cores, and sums
# over other numbers of threads round differently.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

if DATA.is_dir():
    # Specs under test name it; worker processes inherit it.
    os.environ["GATE_DATA"] = str(DATA)
else:
    os.environ.pop("GATE_DATA", None)


@pytest.fixture(scope="session")
def project_dir() -> Path:
    """Root of the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def gate_data() -> Path:
    """Folder of real data sets."""
    if not DATA.is_dir():
        pytest.skip(f"GATE_DATA: no folder {DATA}; set GATE_DATA to the data sets' folder")
    return DATA


@pytest.fixture(scope="session")
def imagenet_dir(gate_data: Path) -> Path:
    """Class folders of real photographs."""
    folder = gate_data / "imagenet_val1300"
    if not folder.is_dir():
        pytest.skip(f"GATE_DATA: {gate_data} has no imagenet_val1300")
    return folder
