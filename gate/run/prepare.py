"""From a case to two models on disk or in memory: the reference's form and the candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, Session
from gate.core.artifact import ALONE, Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.convert import from_plain, to_plain
from gate.core.spec import TargetSpec
from gate.core.tensors import TensorMap
from gate.data.base import SampleSet
from gate.models import tensorflow
from gate.models.base import LoadedModel, ModelError
from gate.models.conversions import convert, convertible
from gate.quantize.base import QuantizeError, Quantizer
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.calibration import CalibrationStream
from gate.run.candidates import keep_candidate, kept_candidate
from gate.run.identity import entry_sources, gate_sources, installed_versions, told_of
from gate.run.mutation import UNCHANGED, Mutator, Site

UNCACHED_METHODS = frozenset({"none", "candidate"})
"""Methods that only look at a file: its content may change while the options stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that is opened for a case."""

    native: LoadedModel
    """As its source gave it."""
    base: LoadedModel
    """The float model beside which the candidate is opened: what it was made from, in a form that
    the backend knows."""
    reference: LoadedModel
    """The float model that the candidate is compared with."""
    reference_target: TargetSpec
    """Where the reference runs: as the candidate does, except for method ``none``."""
    artifact: Artifact


class Workshop:
    """Converts and quantizes, or takes from the cache what was made before."""

    def __init__(
        self,
        case: Case,
        *,
        cache: Cache,
        announcer: Announcer,
        work: Path,
        notes: list[str],
        mutator: Mutator = UNCHANGED,
        probes: Callable[[], Sequence[TensorMap]] = list,
        keep: Path | None = None,
        given: Path | None = None,
    ) -> None:
        """``probes`` gives inputs on which a planted fault must show; candidates are copied to
        ``keep`` and, where it is set, taken from ``given`` instead of being made."""
        self._case = case
        self._cache = cache
        self._announcer = announcer
        self._work = work
        self._notes = notes
        self._mutator = mutator
        self._probes = probes
        self._keep = keep
        self._given = given
        self._quantizer: Quantizer = plugins.load("quantizers", case.quantization.method)
        self._backend: Backend = plugins.load("backends", case.target.backend)

    def prepare(self, native: LoadedModel, calibration: SampleSet | None) -> Prepared:
        """Make the candidate and choose what it is compared with.

        Raises:
            ModelError: the model cannot be converted.
            QuantizeError: the library refused, or calibration samples are missing.
        """
        method, target = self._case.quantization.method, self._case.target
        base = self._form(native, self._quantizer.accepts, method)
        if self._mutator.changes_reference:
            broken = self._mutator.reference(
                base,
                Site(
                    open_file=lambda file: self._open_float(base, file),
                    probes=self._probes(),
                    out_dir=self._folder("mutated-reference"),
                ),
            )
            # Broken where it comes from: no conversion is to blame, and none tells of it.
            native, base = (broken, broken) if broken is not base else (native, base)
        if method == "none":
            # Converted here, the file is kept like any other conversion.
            opened = self._form(base, self._backend.formats, target.backend)
            artifact = self._mutated(self._candidate(opened, calibration), base)
            return Prepared(
                native=native,
                base=base,
                reference=base,
                reference_target=native_target(base.format, target),
                artifact=artifact,
            )
        artifact = self._candidate(base, calibration)
        reference = base
        if base.format not in self._backend.formats:
            # Made elsewhere, or in another form: the names of its layers are those of the form that
            # the backend opens.
            reference = base = self._form(native, self._backend.formats, self._case.target.backend)
        artifact = self._mutated(artifact, base)
        return Prepared(
            native=native,
            base=base,
            reference=reference,
            reference_target=target,
            artifact=artifact,
        )

    def _mutated(self, artifact: Artifact, base: LoadedModel) -> Artifact:
        """The candidate with a fault in it, a copy; itself where none is planted there."""

        def open_file(file: Artifact) -> AbstractContextManager[Session]:
            return self._backend.open_candidate(file, model=base, target=self._case.target)

        if self._mutator is UNCHANGED:
            return artifact
        folder = self._folder("mutated")
        site = Site(open_file=open_file, probes=self._probes(), out_dir=folder)
        return self._mutator.candidate(artifact, site)

    def _open_float(self, base: LoadedModel, file: Artifact) -> AbstractContextManager[Session]:
        changed = replace(
            base, path=file.path, sha256=file.sha256, size_bytes=file.size_bytes, module=None
        )
        target = native_target(base.format, self._case.target)
        backend: Backend = plugins.load("backends", target.backend)
        return backend.open_reference(changed, target=target)

    def _form(self, native: LoadedModel, wanted: frozenset[Format], who: str) -> LoadedModel:
        if native.format in wanted:
            return native
        to = next((f for f in sorted(wanted) if convertible(native.format, f)), None)
        if to is None:
            formats = " or ".join(sorted(wanted))
            raise ModelError(f"{who} takes {formats}; a {native.format} model cannot become that")
        if to not in ALONE:
            # Stays in memory: there is nothing to keep.
            return convert(native, to, out_dir=self._folder("converted"))
        return self._converted(native, to)

    def _conversion_key(self, native: LoadedModel, to: Format) -> Mapping[str, JsonValue]:
        # Another process converts Keras models; its interpreter may have versions of its own.
        converter = tensorflow.versions() if native.format is Format.KERAS else {}
        return {
            "model": native.sha256,
            "id": native.spec.id,
            "entries": entry_sources(native.spec.options),
            "inputs": to_plain(native.spec)["inputs"],
            "to": to.value,
            "versions": {**installed_versions(), **converter},
            "gate": gate_sources("models"),
        }

    def _converted(self, native: LoadedModel, to: Format) -> LoadedModel:
        with self._cache.slot("conversion", self._conversion_key(native, to)) as slot:
            self._remark(slot.damage)
            self._announcer.cache("conversion", hit=slot.entry is not None)
            entry = slot.entry
            if entry is None:
                made = convert(native, to, out_dir=(folder := slot.staging()))
                if made.path is None or not made.path.is_relative_to(folder):
                    return made
                meta = {
                    "path": made.path.relative_to(folder).as_posix(),
                    "sha256": made.sha256,
                    "size_bytes": made.size_bytes,
                }
                entry = slot.commit(meta)
        return replace(
            native,
            format=to,
            module=None,
            path=entry.directory / entry.meta["path"],
            sha256=entry.meta["sha256"],
            size_bytes=entry.meta["size_bytes"],
        )

    def _candidate(self, base: LoadedModel, calibration: SampleSet | None) -> Artifact:
        if self._given is not None:
            return kept_candidate(self._given, self._case.id)
        artifact = self._made(base, calibration)
        if self._keep is not None:
            keep_candidate(self._keep, self._case.id, artifact)
        return artifact

    def _made(self, base: LoadedModel, calibration: SampleSet | None) -> Artifact:
        if self._case.quantization.method in UNCACHED_METHODS or self._mutator.changes_making:
            return self._quantize(base, calibration, self._folder("candidate"))
        with self._cache.slot("artifact", self._key(base, calibration)) as slot:
            self._remark(slot.damage)
            self._announcer.cache("artifact", hit=slot.entry is not None)
            entry = slot.entry
            if entry is None:
                folder = slot.staging()
                made = self._quantize(base, calibration, folder)
                if not made.path.is_relative_to(folder):
                    return made  # a file of the user's own: there is nothing to keep
                meta = to_plain(replace(made, path=made.path.relative_to(folder)))
                entry = slot.commit(meta)
        artifact = from_plain(Artifact, entry.meta)
        return replace(artifact, path=entry.directory / artifact.path)

    def _key(self, base: LoadedModel, calibration: SampleSet | None) -> Mapping[str, JsonValue]:
        case = self._case
        return {
            "model": base.sha256,
            **told_of(case.model),
            "entries": entry_sources([case.model.options, case.quantization.options]),
            "calibration": calibration.digest() if calibration is not None else None,
            "batch": case.run.batch,
            "method": case.quantization.method,
            "options": case.quantization.options,
            "backend": case.target.backend,
            "target": case.target.options,
            "threads": case.target.threads,
            "seed": case.run.seed,
            "versions": {**installed_versions(), **self._quantizer.versions()},
            "gate": gate_sources("quantize", "models"),
        }

    def _quantize(
        self, base: LoadedModel, calibration: SampleSet | None, out_dir: Path
    ) -> Artifact:
        case = self._case
        if self._quantizer.needs_calibration and calibration is None:
            raise QuantizeError(
                f"{case.quantization.method} needs calibration samples; give data.calibration"
            )
        batches = None
        if calibration is not None:
            tick = self._announcer.progress(len(calibration))
            batches = CalibrationStream(calibration, case.run.batch, tick)
        return self._quantizer.quantize(
            base,
            batches,
            options=case.quantization.options,
            target=case.target,
            seed=case.run.seed,
            out_dir=out_dir,
        )

    def _folder(self, name: str) -> Path:
        folder = self._work / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _remark(self, damage: str | None) -> None:
        if damage is not None:
            self._notes.append(damage)


def native_target(model_format: Format, target: TargetSpec) -> TargetSpec:
    """Where a model runs in the format that its source gave it: on the target's own backend where
    that opens it, else on the first backend that does, with that backend's defaults.

    Raises:
        ModelError: no backend opens the format.
    """
    if model_format in plugins.load("backends", target.backend).formats:
        return target
    for name in plugins.table("backends"):
        backend: Backend = plugins.load("backends", name)
        if model_format in backend.formats and backend.unavailable() is None:
            return replace(target, backend=name, options={})
    raise ModelError(f"no backend that is installed opens the reference's format, {model_format}")
