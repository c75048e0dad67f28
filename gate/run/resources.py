"""What the models of a case cost: bytes of files, weights and memory, and seconds to load."""

from __future__ import annotations

from gate.backends.base import MeasuringSession, Session
from gate.backends.transform import TransformedSession
from gate.core.observation import ResourcesObserved
from gate.run.job import ProbeAnswer
from gate.run.prepare import Prepared


def resources(
    prepared: Prepared, reference: Session, candidate: Session, cost: ProbeAnswer
) -> ResourcesObserved:
    """Of the two files, their open sessions, and what a process with the candidate alone measured."""
    return ResourcesObserved(
        reference_size_bytes=prepared.reference.size_bytes,
        candidate_size_bytes=prepared.artifact.size_bytes,
        reference_packed_bytes=reference.packed_bytes(),
        candidate_packed_bytes=candidate.packed_bytes(),
        peak_memory_bytes=cost.peak_memory_bytes,
        load_seconds=cost.load_seconds,
        reference_load_seconds=cost.reference_load_seconds,
        load_cpu_seconds=cost.load_cpu_seconds,
        reference_load_cpu_seconds=cost.reference_load_cpu_seconds,
        reference_activation_bytes=_activations(reference),
        candidate_activation_bytes=_activations(candidate),
    )


def _activations(session: Session) -> int | None:
    inner = session.inner if isinstance(session, TransformedSession) else session
    return inner.activation_bytes() if isinstance(inner, MeasuringSession) else None


def sizes_only(prepared: Prepared) -> ResourcesObserved:
    """What is known of the device tier where nothing is timed; the rest has no value."""
    return ResourcesObserved(
        reference_size_bytes=prepared.reference.size_bytes,
        candidate_size_bytes=prepared.artifact.size_bytes,
        reference_packed_bytes=None,
        candidate_packed_bytes=None,
        peak_memory_bytes=0,
        load_seconds=0.0,
        reference_load_seconds=0.0,
    )
