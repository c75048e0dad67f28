"""Did quantization-aware training happen? Looked at while it runs and once it has ended.

Fine-tuning that never saw its own quantization looks like any other from outside: the converted model is
int8, and only its accuracy tells. So the things that make it one are asked for by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gate.models.torch_packed import is_quantized_module
from gate.quantize._torch_qat_qconfig import learned_scales
from gate.quantize.base import QuantizeError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 4


class Watch:
    """Watches a prepared module through its training.

    Args:
        prepared: with its fake-quantizers, before the first step.
        who: trained it, for messages: ``the built-in loop`` or the entry.

    Raises:
        QuantizeError: there is nothing to train through: no layer got a fake-quantizer.
    """

    def __init__(self, prepared: nn.Module, *, who: str) -> None:
        self._who = who
        self._rounded: Counter[str] = Counter()
        """Fake-quantizer -> training passes with gradients in which it rounded."""
        self._passed: Counter[str] = Counter()
        """Fake-quantizer -> passes with gradients in which it let values through as they were."""
        self._before = _weights(prepared)
        self._scales = {name: _copy(scale) for name, scale in learned_scales(prepared).items()}
        self._handles = [
            part.register_forward_hook(self._note(name))
            for name, part in _fake_quantizers(prepared)
        ]

    def check(self, trained: nn.Module, sample: Sequence[Tensor]) -> None:
        """Ends the watch; the observers of ``trained`` are off afterwards, and it evaluates.

        Args:
            trained: what came out of the training.
            sample: inputs, to see which layers run at inference.

        Raises:
            QuantizeError: the module was not trained through its fake-quantizers.
        """
        for handle in self._handles:
            handle.remove()
        found = _fake_quantizers(trained)
        if len(found) < len(self._handles):
            self._converted(trained, len(found))
        if not self._rounded:
            raise QuantizeError(
                f"quantization-aware training without quantization: {self._who} ran no batch in training "
                f"mode with any of the {len(found)} fake-quantizers enabled; what it trained is the float "
                "model"
            )
        used = _used(trained, sample)
        idle = [n for n, _ in found if n in used and self._rounded[n] < self._passed[n]]
        if idle:
            first = idle[0]
            raise QuantizeError(
                f"quantization-aware training mostly without quantization: {len(idle)} of {len(used)} "
                f"fake-quantizers ({_names(idle)}) rounded in less than half of the passes with gradients "
                f"({first}: {self._rounded[first]} of {self._rounded[first] + self._passed[first]}); "
                f"{self._who} has to leave them enabled while it trains"
            )
        blind = [name for name, part in found if name in used and _saw_nothing(part)]
        if blind:
            raise QuantizeError(
                f"{len(blind)} of {len(used)} fake-quantizers never saw a value ({_names(blind)}): their "
                f"observers were off, or {self._who} never ran those layers; their ranges are made up"
            )
        after = _weights(trained)
        if not any(_differs(self._before[name], after.get(name)) for name in self._before):
            raise QuantizeError(
                f"quantization-aware training that trained nothing: {self._who} left all "
                f"{len(self._before)} quantized weights as they were (no optimizer step, a learning rate "
                "that is lost in rounding, or an optimizer over other parameters); use a static method, "
                "which does the same in less time"
            )
        self._check_scales(trained)

    def _check_scales(self, trained: nn.Module) -> None:
        after = learned_scales(trained)
        if self._scales and not any(
            _differs(before, after.get(name)) for name, before in self._scales.items()
        ):
            raise QuantizeError(
                f"scales: learned, but {self._who} left all {len(self._scales)} of them as they were"
            )

    def _converted(self, trained: nn.Module, left: int) -> None:
        quantized = [name for name, part in trained.named_modules() if is_quantized_module(part)]
        if quantized:
            raise QuantizeError(
                f"{self._who} gave back a converted model ({_names(quantized)} are integer modules): "
                "convert ends training, since integer weights have no gradient; it comes once, after the last "
                "epoch, and the gate does it. Return the prepared model"
            )
        raise QuantizeError(
            f"{self._who} gave back a model with {left} of the {len(self._handles)} fake-quantizers that it "
            "was given; return the prepared model"
        )

    def _note(self, name: str) -> Any:
        import torch

        def hook(part: Any, _given: Any, _output: Any) -> None:
            if not torch.is_grad_enabled():
                return  # an evaluation between steps
            if not int(part.fake_quant_enabled[0]):
                self._passed[name] += 1
            elif part.training:
                self._rounded[name] += 1

        return hook


def require_fake_quantizers(prepared: nn.Module, *, told_of: str) -> None:
    """Raises QuantizeError, with ``told_of`` the float network, where no weight of a prepared module is
    fake-quantized."""
    if not _weights(prepared):
        raise QuantizeError(
            "nothing was quantized: torch found no layer that it can train for integer kernels; "
            f"{told_of}"
        )


def _used(trained: nn.Module, sample: Sequence[Tensor]) -> set[str]:
    """Fake-quantizers that a forward pass goes through; others may belong to layers that never run."""
    import torch
    from torch.ao.quantization import disable_observer

    used: set[str] = set()
    trained.eval().apply(disable_observer)
    handles = [
        part.register_forward_hook(lambda *_, name=name: used.add(name))
        for name, part in _fake_quantizers(trained)
    ]
    try:
        with torch.no_grad():
            trained(*sample)
    finally:
        for handle in handles:
            handle.remove()
    return used


def _fake_quantizers(module: nn.Module) -> list[tuple[str, Any]]:
    from torch.ao.quantization import FakeQuantizeBase

    return [(n, part) for n, part in module.named_modules() if isinstance(part, FakeQuantizeBase)]


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Path -> copy of each weight that goes through a fake-quantizer."""
    return {
        name: _copy(part.weight)
        for name, part in module.named_modules()
        if hasattr(part, "weight_fake_quant")
    }


def _saw_nothing(part: Any) -> bool:
    """True for a fake-quantizer whose observer has no range: its scale is the one it was born with."""
    import torch

    observer = getattr(part, "activation_post_process", None)
    low = getattr(observer, "min_val", None)
    if not isinstance(low, torch.Tensor):
        return False  # a fixed range needs no observation
    if hasattr(part, "learning_enabled"):
        return False  # its scale was taken over from an observer that this function has seen
    return low.numel() == 0 or bool(torch.isinf(low).all())


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _differs(before: Tensor, after: Tensor | None) -> bool:
    import torch

    return after is not None and not torch.equal(before, after.detach())


def _names(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
