"""A process beside the worker that opens one candidate and nothing else: its memory, its load time.

It starts early, imports, opens and runs the candidate (that is where its memory peaks), then waits
for a word and measures load times while the machine is quiet. ``probe_child`` is its own side.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gate.core.artifact import ALONE
from gate.core.case import Case
from gate.core.tensors import TensorMap
from gate.models.base import LoadedModel
from gate.run.companion import Companion, Started
from gate.run.job import (
    PROBE_ANSWER_FILE,
    PROBE_FILE,
    LaunchJob,
    ModelFile,
    ProbeAnswer,
    ProbeJob,
    write_record,
)
from gate.run.mutation import Mutation

if TYPE_CHECKING:
    from gate.run.prepare import Prepared


class Probe(Companion[ProbeAnswer]):
    """The worker's handle on its probe."""

    def __init__(
        self,
        started: Started,
        case: Case,
        prepared: Prepared,
        inputs: TensorMap,
        work: Path,
        *,
        mutation: Mutation | None = None,
        launch: LaunchJob | None = None,
        reference_only: bool = False,
    ) -> None:
        job = ProbeJob(
            case=case,
            candidate_model=candidate_model(prepared),
            reference_model=model_file(prepared.reference),
            reference_target=prepared.reference_target,
            artifact=prepared.artifact,
            inputs=save_inputs(inputs, work),
            mutation=mutation,
            reference_only=reference_only,
            launch=launch,
        )
        write_record(work / PROBE_FILE, job)
        super().__init__(
            started,
            "probe",
            work,
            answer_file=PROBE_ANSWER_FILE,
            answer=ProbeAnswer,
            what="the process that opens the candidate alone",
        )


def save_inputs(inputs: TensorMap, folder: Path) -> dict[str, Path]:
    """Write one batch for another process: input name -> ``.npy`` file."""
    import numpy as np

    files = {name: folder / f"input-{i}.npy" for i, name in enumerate(inputs)}
    for name, file in files.items():
        np.save(file, inputs[name], allow_pickle=False)
    return files


def model_file(model: LoadedModel) -> ModelFile | None:
    """The file form of a model; None where only its source can build it again."""
    if model.format not in ALONE or model.path is None:
        return None
    return ModelFile(
        format=model.format, path=model.path, sha256=model.sha256, size_bytes=model.size_bytes
    )


def candidate_model(prepared: Prepared) -> ModelFile | None:
    """The float model that the candidate is opened with. A float candidate that is a file is its
    own: the framework of its reference must not count as its memory."""
    artifact = prepared.artifact
    if artifact.format in ALONE and prepared.base.format not in ALONE:
        return ModelFile(
            format=artifact.format,
            path=artifact.path,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
        )
    return model_file(prepared.base)
