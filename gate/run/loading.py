"""The float model of a case in a process beside the worker."""

from __future__ import annotations

from gate import plugins
from gate.core.case import Case
from gate.models.base import LoadedModel
from gate.run.job import ModelFile


def load_model(case: Case, file: ModelFile | None) -> LoadedModel:
    """A float model from its file or, where it has none, from its source."""
    spec = case.model
    if file is None:
        loaded: LoadedModel = plugins.load("sources", spec.source).load(spec, seed=case.run.seed)
        return loaded
    return LoadedModel(
        format=file.format,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        spec=spec,
        path=file.path,
    )
