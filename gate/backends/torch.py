"""Backend: PyTorch on the CPU, eager with one of its quantized engines, or compiled by Inductor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from gate import plugins
from gate.backends import isa
from gate.backends._torch_compile import Compiled, compiler_missing
from gate.backends._torch_session import TorchSession
from gate.backends.base import BackendError
from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.environment import Environment
from gate.core.spec import TargetSpec
from gate.models.torch_runtime import (
    ENGINES,
    engine_of,
    engine_unavailable,
    torch_settings,
    torch_unavailable,
)

if TYPE_CHECKING:
    from gate.backends.base import Session
    from gate.models.base import LoadedModel

COMPILED = "inductor"
"""Engine of an environment in which models are compiled."""


class TorchBackend:
    """Opens float modules and exported programs, and what the torch quantizers restore."""

    name: ClassVar[str] = "torch"
    runtime: ClassVar[str] = "torch"
    formats: ClassVar[frozenset[Format]] = frozenset(
        {Format.TORCH_MODULE, Format.TORCH_QUANTIZED, Format.EXPORTED}
    )
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "engine": {
                "enum": list(ENGINES),
                "description": "quantized kernels; default x86, on ARM qnnpack",
            },
            "compile": {
                "type": "boolean",
                "default": False,
                "description": "compile the float model and the candidate with Inductor, which makes"
                " integer kernels of what PT2E quantized",
            },
        },
    }

    def unavailable(self, target: TargetSpec | None = None) -> str | None:
        """See ``Backend.unavailable``; without a target torch is not imported."""
        if reason := torch_unavailable():
            return reason
        if target is None:
            return None
        reason = compiler_missing() if target.options.get("compile") else None
        return reason or engine_unavailable(engine_of(target.options))

    def environment(self, target: TargetSpec) -> Environment:
        """See ``Backend.environment``."""
        return isa.environment(
            backend=self.name,
            engine=COMPILED if target.options.get("compile") else engine_of(target.options),
            threads=target.threads,
            versions={"torch": version("torch"), "numpy": version("numpy")},
        )

    @contextmanager
    def open_reference(self, model: LoadedModel, *, target: TargetSpec) -> Iterator[Session]:
        """See ``Backend.open_reference``."""
        with self._settings(target):
            yield self._session(_float_module(model), None, model, target)

    @contextmanager
    def open_candidate(
        self, artifact: Artifact, *, model: LoadedModel, target: TargetSpec
    ) -> Iterator[Session]:
        """See ``Backend.open_candidate``; a quantized state is put back by its quantizer."""
        with self._settings(target):
            if artifact.format is Format.TORCH_QUANTIZED:
                module = _restored(artifact, model, target)
            elif artifact.format in self.formats:
                module = _float_module(model)
            else:
                raise BackendError(f"torch cannot open {artifact.path}: it is {artifact.format}")
            yield self._session(module, _float_module(model), model, target)

    @contextmanager
    def _settings(self, target: TargetSpec) -> Iterator[None]:
        if reason := self.unavailable(target):
            raise BackendError(reason)
        with torch_settings(engine=engine_of(target.options), threads=target.threads):
            yield

    def _session(
        self, module: Any, reference: Any, model: LoadedModel, target: TargetSpec
    ) -> TorchSession:
        return TorchSession(
            module,
            reference=reference,
            inputs=model.spec.inputs,
            engine=engine_of(target.options),
            threads=target.threads,
            compiled=Compiled(module) if target.options.get("compile") else None,
        )


def _float_module(model: LoadedModel) -> Any:
    if model.format is Format.TORCH_MODULE:
        return model.module
    if model.format is Format.EXPORTED:
        from gate.models.exported import program_module

        return program_module(model.module)
    raise BackendError(f"torch cannot open a model of format {model.format}")


def _restored(artifact: Artifact, model: LoadedModel, target: TargetSpec) -> Any:
    quantizer = plugins.load("quantizers", artifact.producer)
    if not hasattr(quantizer, "restore"):
        raise BackendError(f"{artifact.producer} cannot restore {artifact.path}")
    try:
        return quantizer.restore(model, artifact, target=target)
    except Exception as error:  # a quantizer may be a third party's and raise anything
        raise BackendError(f"{artifact.path} cannot be opened: {error}") from error
