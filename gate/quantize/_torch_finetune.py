"""The built-in training loop as one option of another method: ``qat: {epochs: 2}``, ``fine_tune: {epochs: 2}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.core.options import with_defaults
from gate.quantize._torch_train import TRAINING_PROPERTIES, Loop, loss_of, settle_loop
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import nn

    from gate.models.base import LoadedModel
    from gate.quantize._torch_train import TrainingSamples

_OBSERVERS = "freeze_observers"


def training_schema(description: str, *, observers: bool) -> Mapping[str, JsonValue]:
    """JSON Schema of the option; ``observers`` where there are any to freeze."""
    properties = {
        name: entry
        for name, entry in TRAINING_PROPERTIES.items()
        if observers or name != _OBSERVERS
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "description": description,
    }


def complete_training(
    given: Mapping[str, JsonValue], *, key: str, observers: bool
) -> dict[str, JsonValue]:
    """The option with every default.

    Raises:
        OptionsError: options that contradict one another.
    """
    complete = with_defaults(given, training_schema("", observers=observers))
    settle_loop(complete, given, said=f"{key}: ", observers=observers)
    return complete


def fine_tune(
    module: nn.Module,
    model: LoadedModel,
    teacher: nn.Module,
    samples: TrainingSamples,
    *,
    options: Mapping[str, JsonValue],
    key: str,
    freeze_batch_norm: Callable[[Any], None],
    freeze_observers: Callable[[Any], None] | None = None,
) -> None:
    """Train ``module`` in place; ``options`` are complete, ``teacher`` is the float network.

    Raises:
        QuantizeError: the loss is no number, the module refuses a batch, or training moved nothing.
    """
    before = [parameter.detach().clone() for parameter in module.parameters()]
    Loop(
        options={_OBSERVERS: options["epochs"] + 1, **options},
        freeze_batch_norm=freeze_batch_norm,
        freeze_observers=freeze_observers or (lambda _: None),
        groups=lambda found: [{"params": [p for p in found.parameters() if p.requires_grad]}],
    ).run(module, samples, loss_of(options["loss"], model.spec.task, teacher, samples))
    if all(bool((old == new).all()) for old, new in zip(before, module.parameters(), strict=True)):
        raise QuantizeError(
            f"{key}: training left every weight as it was (a learning rate of "
            f"{options['learning_rate']} that is lost in rounding?)"
        )
