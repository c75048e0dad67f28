"""A session behind declared transforms: the spec's tensors outside, the file's inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gate.backends.base import BackendError, LayoutSession
from gate.backends.isolation import IsolatingSession, Isolation
from gate.backends.kept_float import TellingSession
from gate.core.transform import TransformError, Transforms, apply_inputs, apply_outputs

if TYPE_CHECKING:
    from gate.backends.base import Session
    from gate.core.layer import KeptFloat, LayerRow
    from gate.core.tensors import Array, TensorMap


class TransformedSession:
    """Wraps a session whose file has names, types or a layout of its own.

    Layers and their captured outputs are the file's, untransformed.
    """

    def __init__(self, session: Session, transforms: Transforms) -> None:
        self._session = session
        self._transforms = transforms

    def run(self, inputs: TensorMap) -> TensorMap:
        """Run one batch, transformed on both sides; see ``Session.run``."""
        outputs = self._session.run(self._inside(inputs))
        with _explained():
            return apply_outputs(outputs, self._transforms.outputs)

    def layers(self, inputs: TensorMap) -> tuple[LayerRow, ...]:
        """The file's layers; see ``Session.layers``."""
        return self._session.layers(self._inside(inputs))

    def capture(self, inputs: TensorMap, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
        """The file's layer outputs; see ``Session.capture``."""
        return self._session.capture(self._inside(inputs), names)

    def isolate(self, inputs: TensorMap) -> Isolation:
        """The file's layers, fed with the spec's inputs; see ``IsolatingSession.isolate``.

        Raises:
            BackendError: the session cannot cut its model into layers.
        """
        if not isinstance(self._session, IsolatingSession):
            raise BackendError("the backend cannot run single layers")
        whole = self._session.isolate(self._inside(inputs))
        return Isolation(
            pieces=whole.pieces, inside=lambda given: whole.inside(self._inside(given))
        )

    def kept_float(self) -> tuple[KeptFloat, ...] | None:
        """See ``TellingSession.kept_float``; None where the session does not tell."""
        return self._session.kept_float() if isinstance(self._session, TellingSession) else None

    def packed_bytes(self) -> int | None:
        """See ``Session.packed_bytes``."""
        return self._session.packed_bytes()

    @property
    def channels_last(self) -> bool:
        """See ``LayoutSession``: the layers are the file's."""
        return isinstance(self._session, LayoutSession) and self._session.channels_last

    @property
    def inner(self) -> Session:
        """The session without its transforms."""
        return self._session

    def _inside(self, inputs: TensorMap) -> TensorMap:
        with _explained():
            return apply_inputs(inputs, self._transforms.inputs)


def transformed(session: Session, transforms: Transforms) -> Session:
    """``session`` behind ``transforms``; itself where there are none."""
    return TransformedSession(session, transforms) if transforms else session


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except TransformError as error:
        raise BackendError(str(error)) from error
