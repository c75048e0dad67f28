"""Fine-tuning of a prepared (fake-quantized) module: the samples, the loss, the loop.

Everything is drawn from the run's seed, and the loop runs on the target's threads: the same samples, options,
seed and versions give the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue
from gate.core.spec import InputSpec
from gate.models.base import ModelError
from gate.models.tensors import name_outputs
from gate.quantize._torch_common import positional
from gate.quantize.base import (
    CalibrationBatches,
    OptionsError,
    QuantizeError,
    labelled_batches,
)

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

CLASSIFICATION = frozenset({"image-classification", "sequence-classification"})

TRAINING_PROPERTIES: Mapping[str, JsonValue] = {
    "epochs": {
        "type": "integer",
        "minimum": 1,
        "default": 3,
        "description": "passes over the calibration samples",
    },
    "batch": {
        "type": "integer",
        "minimum": 1,
        "default": 32,
        "description": "samples a step; the last steps of an epoch may have one less",
    },
    "learning_rate": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 1e-4,
        "description": "of the first step",
    },
    "schedule": {
        "enum": ["cosine", "constant"],
        "default": "cosine",
        "description": "of the learning rate: down to 0 at the last step, or as it is",
    },
    "optimizer": {"enum": ["adam", "adamw", "sgd"], "default": "adam"},
    "momentum": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "of sgd; default 0.9",
    },
    "weight_decay": {"type": "number", "minimum": 0, "default": 0.0},
    "loss": {
        "enum": ["auto", "labels", "distillation"],
        "default": "auto",
        "description": "cross-entropy with the labels, or distance to the float model's outputs; auto takes "
        "the labels where a classifier has them",
    },
    "freeze_batch_norm": {
        "type": "integer",
        "minimum": 0,
        "description": "epochs after which the statistics of batch norm stay; default half of them",
    },
    "freeze_observers": {
        "type": "integer",
        "minimum": 1,
        "description": "epochs after which ranges stay; default two thirds of them",
    },
}
"""Options of the built-in loop."""


class TrainingSamples:
    """All training samples, preprocessed, in memory: epochs read them in other orders.

    Args:
        inputs: one tensor a model input, in the order of the spec.
        labels: class indices, or whatever else the data knows of each sample; None where nothing.
        seed: of the orders.
    """

    def __init__(
        self, inputs: Sequence[Tensor], labels: Tensor | Sequence[Any] | None, *, seed: int
    ) -> None:
        import torch

        self.inputs = tuple(inputs)
        self.labels = labels
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __call__(self, size: int) -> Iterator[tuple[tuple[Tensor, ...], Any]]:
        """One epoch: all samples in a new order, in steps of at most ``size`` that differ by one at
        most (batch norm in training cannot take a last sample alone)."""
        import torch

        order = torch.randperm(len(self), generator=self._generator)
        for chosen in torch.tensor_split(order, self.steps(size)):
            labels: Any = self.labels
            if isinstance(labels, torch.Tensor):
                labels = labels[chosen]
            elif labels is not None:
                labels = [labels[index] for index in chosen.tolist()]
            yield tuple(tensor[chosen] for tensor in self.inputs), labels

    def steps(self, size: int) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self) / size)


def settle_loop(
    complete: dict[str, JsonValue],
    given: Mapping[str, JsonValue],
    *,
    said: str = "",
    observers: bool = True,
) -> None:
    """Put the defaults into ``complete`` that go by other options.

    Args:
        complete: the loop's options, those with a default of their own among them.
        given: those that the spec gives.
        said: what stands before a message.
        observers: whether there are any to freeze.

    Raises:
        OptionsError: options that contradict one another.
    """
    if complete["optimizer"] == "sgd":
        complete.setdefault("momentum", 0.9)
    elif "momentum" in given:
        raise OptionsError(
            f"{said}momentum is an option of sgd, not of {complete['optimizer']}",
            option=f"{said.replace(': ', '.')}momentum",
        )
    complete.setdefault("freeze_batch_norm", complete["epochs"] // 2)
    if observers:
        complete.setdefault("freeze_observers", max(1, 2 * complete["epochs"] // 3))


def training_samples(
    batches: CalibrationBatches | None, inputs: Mapping[str, InputSpec], *, seed: int
) -> TrainingSamples:
    """Read the calibration samples, with their labels.

    Raises:
        QuantizeError: there is no sample, or only some have labels.
    """
    import numpy as np
    import torch

    read: list[tuple[Tensor, ...]] = []
    labels: list[Any] = []
    for batch, known in labelled_batches(batches) if batches is not None else ():
        read.append(positional(batch, inputs))
        if known is not None:
            labels.append(known)
    if not read:
        raise QuantizeError(
            "there are no calibration samples to train on: give data.calibration in the spec"
        )
    if len(labels) not in (0, len(read)):
        raise QuantizeError("some calibration samples have a label and others none")
    try:
        together = [torch.cat(tensors) for tensors in zip(*read, strict=True)]
    except RuntimeError as error:
        raise QuantizeError(f"the training samples differ in shape: {error}") from error
    whole: Tensor | list[Any] | None = None
    if labels and all(isinstance(part, np.ndarray) for part in labels):
        whole = torch.from_numpy(np.concatenate(labels))
    elif labels:
        whole = [label for part in labels for label in part]
    return TrainingSamples(together, whole, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """The built-in loop: options complete, and what freezing means for the prepared module."""

    options: Mapping[str, JsonValue]
    freeze_batch_norm: Callable[[nn.Module], object]
    freeze_observers: Callable[[nn.Module], object]
    groups: Callable[[nn.Module], list[dict[str, Any]]]
    """Parameter groups of the optimizer, with their own learning rates where they need them."""

    def run(self, module: nn.Module, samples: TrainingSamples, loss: Any) -> None:
        """Train ``module`` in place.

        Raises:
            QuantizeError: the loss is no number, or the module refuses a batch.
        """
        options, epochs, size = self.options, self.options["epochs"], self.options["batch"]
        optimizer = _optimizer(self.groups(module), options)
        schedule = _schedule(optimizer, options, epochs * samples.steps(size))
        module.train()
        for epoch in range(epochs):
            if epoch >= options["freeze_batch_norm"]:
                self.freeze_batch_norm(module)
            if epoch >= options["freeze_observers"]:
                self.freeze_observers(module)
            for given, labels in samples(size):
                try:
                    value = loss(given, name_outputs(module(*given)), labels)
                except (RuntimeError, ValueError, TypeError, IndexError, ModelError) as error:
                    raise QuantizeError(f"training, epoch {epoch + 1}: {error}") from error
                if not math.isfinite(float(value.detach())):
                    raise QuantizeError(
                        f"training, epoch {epoch + 1}: the loss is {float(value.detach())}; lower "
                        f"learning_rate ({options['learning_rate']})"
                    )
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()


def loss_of(
    how: str, task: str, teacher: nn.Module, samples: TrainingSamples
) -> Callable[[tuple[Tensor, ...], Mapping[str, Tensor], Tensor | None], Tensor]:
    """The loss: cross-entropy with the labels, or the distance to the float model's outputs.

    The distance of class scores is KL(softmax(float) || softmax(trained)), in nats; that of other
    outputs is the squared error over the float output's mean square.

    Raises:
        QuantizeError: labels are asked for where there are none that a class can be read from.
    """
    import torch

    usable = (
        task in CLASSIFICATION
        and isinstance(samples.labels, torch.Tensor)
        and samples.labels.dim() == 1
    )
    if how == "labels" and not usable:
        why = (
            "the calibration samples have none"
            if samples.labels is None
            else f"those of a model for {task} are no classes"
        )
        raise QuantizeError(f"loss: labels, but {why}; use loss: distillation, or an entry")
    if usable and how != "distillation":
        return _cross_entropy
    scores = task in CLASSIFICATION
    return lambda given, outputs, _: _distance(teacher, given, outputs, scores=scores)


def _cross_entropy(
    given: tuple[Tensor, ...],  # noqa: ARG001 - as every loss
    outputs: Mapping[str, Tensor],
    labels: Tensor | None,
) -> Tensor:
    from torch.nn import functional

    first = next(iter(outputs.values()))
    if labels is None or first.dim() != 2:
        raise QuantizeError(
            f"loss: labels needs class scores of shape (batch, classes), the model's first output "
            f"has shape {tuple(first.shape)}; use loss: distillation, or an entry"
        )
    return functional.cross_entropy(first, labels)


def _distance(
    teacher: nn.Module,
    given: tuple[Tensor, ...],
    outputs: Mapping[str, Tensor],
    *,
    scores: bool,
) -> Tensor:
    import torch
    from torch.nn import functional

    with torch.no_grad():
        wanted = name_outputs(teacher(*given))
    if set(outputs) != set(wanted):
        raise QuantizeError(
            f"the model gives {', '.join(outputs)} in training mode and {', '.join(wanted)} in evaluation; "
            "give an entry that knows what to train on"
        )
    parts = []
    for name, output in outputs.items():
        if not output.dtype.is_floating_point:
            continue
        target = wanted[name]
        if scores and output.dim() == 2:
            logs = functional.log_softmax(output, dim=1), functional.log_softmax(target, dim=1)
            parts.append(functional.kl_div(*logs, reduction="batchmean", log_target=True))
        else:
            power = target.square().mean().clamp(min=torch.finfo(target.dtype).tiny)
            parts.append((output - target).square().mean() / power)
    if not parts:
        raise QuantizeError("the model has no floating-point output to train on; give an entry")
    return torch.stack(parts).sum()


def _optimizer(groups: list[dict[str, Any]], options: Mapping[str, JsonValue]) -> Optimizer:
    from torch import optim

    rate, decay = options["learning_rate"], options["weight_decay"]
    if options["optimizer"] == "sgd":
        return optim.SGD(groups, lr=rate, momentum=options["momentum"], weight_decay=decay)
    kind = optim.AdamW if options["optimizer"] == "adamw" else optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)


def _schedule(optimizer: Optimizer, options: Mapping[str, JsonValue], steps: int) -> Any:
    from torch.optim import lr_scheduler

    if options["schedule"] == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)
