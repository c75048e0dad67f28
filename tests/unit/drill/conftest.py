"""Candidates of all forms, made once."""

from __future__ import annotations

import pytest

from gate.core.artifact import Artifact
from tests.unit.drill import nets


@pytest.fixture(scope="session")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return nets.make(tmp_path_factory.mktemp("candidates"))
