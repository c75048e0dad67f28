"""Options of the static torch methods to a ``QConfig`` and a ``QConfigMapping``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.core.canonical import JsonValue

if TYPE_CHECKING:
    from torch import nn


def qconfig_mapping(options: Mapping[str, JsonValue], kept: Sequence[str]) -> Any:
    """torch's default mapping of an engine with the chosen observers in the place of its own.

    Operators with fixed ranges (sigmoid, tanh, softmax ...), layer norm and transposed convolutions keep
    what the default mapping says about them; the modules ``kept`` get no configuration.
    """
    from torch.ao.quantization import get_default_qconfig, get_default_qconfig_mapping

    engine = options["engine"]
    default = get_default_qconfig(engine)
    mapping = get_default_qconfig_mapping(engine)
    return over_defaults(mapping, default, qconfig_of(options), kept)


def over_defaults(mapping: Any, default: Any, chosen: Any, kept: Sequence[str]) -> Any:
    """``mapping`` with ``chosen`` wherever it says ``default``, whole or in part, and nothing for the
    modules ``kept``."""
    from torch.ao.quantization import QConfig

    for kind, theirs in list(mapping.object_type_qconfigs.items()):
        if theirs is None or not _same(theirs.activation, default.activation):
            continue
        weight = chosen.weight if _same(theirs.weight, default.weight) else theirs.weight
        mapping.set_object_type(kind, QConfig(activation=chosen.activation, weight=weight))
    mapping.set_global(chosen)
    for name in kept:
        mapping.set_module_name(name, None)
    return mapping


def qconfig_of(options: Mapping[str, JsonValue]) -> Any:
    """The chosen observers of an activation and of a weight."""
    from torch.ao.quantization import QConfig

    return QConfig(activation=_activation(options), weight=_weight(options))


def eager_qconfig(
    part: nn.Module,
    options: Mapping[str, JsonValue],
    config_of: Callable[[Mapping[str, JsonValue]], Any],
) -> Any:
    """What ``config_of`` makes of the options for one module of the eager flow; None where that has
    no static integer kernel for its kind (what is looked up, or recurrent)."""
    from torch import nn

    if isinstance(part, nn.Embedding | nn.EmbeddingBag | nn.RNNBase | nn.MultiheadAttention):
        return None
    if isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return config_of(
            {**options, "weights": "int8/per-tensor"}
        )  # they have kernels by tensor only
    return config_of(options)


def _activation(options: Mapping[str, JsonValue]) -> Any:
    import torch
    from torch.ao.quantization import (
        HistogramObserver,
        MinMaxObserver,
        MovingAverageMinMaxObserver,
    )

    from gate.quantize._torch_observers import MseObserver, PercentileObserver

    observer: Any = {
        "minmax": MinMaxObserver,
        "moving-average": MovingAverageMinMaxObserver,
        "histogram": HistogramObserver,
        "percentile": PercentileObserver,
        "mse": MseObserver,
    }[options["observer"]]
    symmetric = options["activations"] == "quint8/symmetric"
    own = {"percentile": options["percentile"]} if options["observer"] == "percentile" else {}
    return observer.with_args(
        dtype=torch.quint8,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        reduce_range=options["reduce_range"],
        **own,
    )


def _weight(options: Mapping[str, JsonValue]) -> Any:
    import torch
    from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

    from gate.quantize._torch_observers import MseWeightObserver

    by_channel = options["weights"].startswith("int8/per-channel")
    affine = options["weights"].endswith("/affine")
    observer: Any = PerChannelMinMaxObserver if by_channel else MinMaxObserver
    if options["weight_observer"] == "mse":
        observer = MseWeightObserver
    schemes = {
        (True, False): torch.per_channel_symmetric,
        (True, True): torch.per_channel_affine,
        (False, False): torch.per_tensor_symmetric,
        (False, True): torch.per_tensor_affine,
    }
    scheme = schemes[by_channel, affine]
    return observer.with_args(dtype=torch.qint8, qscheme=scheme)


def _same(one: Any, other: Any) -> bool:
    """True for two observer factories that build the same observer."""
    return one is other or (
        getattr(one, "p", None) is not None
        and getattr(other, "p", None) is not None
        and (one.p.func, one.p.keywords) == (other.p.func, other.p.keywords)
    )
