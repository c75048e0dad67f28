"""Injectors made of a search for places and a change of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from gate.drill.base import Injection, NotHere
from gate.drill.onnx_edit import Edit

if TYPE_CHECKING:
    import numpy as np

    from gate.drill.torch_state import StateEdit


class Site(Protocol):
    """A place of any kind."""

    @property
    def layer(self) -> str | None:
        """The layer that a fault there belongs to."""
        ...


S = TypeVar("S", bound=Site)


Change: TypeAlias = "Callable[[Any, S, np.random.Generator], str | Injection]"


class SiteInjector(Generic[S]):
    """An ``ArtifactInjector`` made of a search for places and a change of one of them.

    Args:
        find: places of an ONNX graph.
        state: places of a torch state; None where such faults have none.
        change: plants the fault in one place.
    """

    def __init__(
        self,
        find: Callable[[Edit], Sequence[S]],
        state: Callable[[StateEdit], Sequence[S]] | None,
        change: Change[S],
    ) -> None:
        self._find = find
        self._state = state
        self._change = change
        self.__doc__ = change.__doc__

    def places(self, model: Any) -> list[str | None]:
        """See ``ArtifactInjector.places``."""
        return [site.layer for site in self._sites(model)[1]]

    def __call__(
        self, model: Any, rng: np.random.Generator, *, place: int | None = None
    ) -> Injection:
        """See ``ArtifactInjector.__call__``."""
        edit, sites = self._sites(model)
        if not sites:
            raise NotHere("the candidate has no place for it")
        site = sites[int(rng.integers(len(sites))) if place is None else place]
        done = self._change(edit, site, rng)
        edit.finish()
        if not isinstance(done, Injection):
            done = Injection(layer=site.layer, detail=done)
        # A verdict that names what was put in beside the layer names the right place.
        return replace(done, also=(*done.also, *edit.added))

    def _sites(self, model: Any) -> tuple[Edit | StateEdit, Sequence[S]]:
        from gate.drill.torch_state import StateEdit

        if not isinstance(model, dict):
            edit = Edit(model)
            return edit, self._find(edit)
        content = StateEdit(model)
        return content, self._state(content) if self._state is not None else ()


def at(
    find: Callable[[Edit], Sequence[S]],
    state: Callable[[StateEdit], Sequence[S]] | None = None,
) -> Callable[[Change[S]], SiteInjector[S]]:
    """Make an injector of a function that changes one place found by ``find`` or by ``state``."""
    return lambda change: SiteInjector(find, state, change)


@dataclass(frozen=True, slots=True)
class Whole:
    """The graph as one place."""

    layer: str | None = None


def whole(edit: Edit | StateEdit) -> Sequence[Whole]:
    """One place: the graph, or the state."""
    del edit
    return [Whole()]
