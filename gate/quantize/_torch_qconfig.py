"""Options of ``torch-fx-static`` to a ``QConfigMapping``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gate.core.canonical import JsonValue


def qconfig_mapping(options: Mapping[str, JsonValue], kept: Sequence[str]) -> Any:
    """torch's default mapping of an engine with the chosen observers in the place of its own.

    Operators with fixed ranges (sigmoid, tanh, softmax ...), layer norm and transposed convolutions keep
    what the default mapping says about them; the modules ``kept`` get no configuration.
    """
    from torch.ao.quantization import QConfig, get_default_qconfig, get_default_qconfig_mapping

    engine = options["engine"]
    default = get_default_qconfig(engine)
    mapping = get_default_qconfig_mapping(engine)
    chosen = QConfig(activation=_activation(options), weight=_weight(options))
    return over_defaults(mapping, default, chosen, kept)


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


def _activation(options: Mapping[str, JsonValue]) -> Any:
    import torch
    from torch.ao.quantization import (
        HistogramObserver,
        MinMaxObserver,
        MovingAverageMinMaxObserver,
    )

    observer: Any = {
        "minmax": MinMaxObserver,
        "moving-average": MovingAverageMinMaxObserver,
        "histogram": HistogramObserver,
    }[options["observer"]]
    symmetric = options["activations"] == "quint8/symmetric"
    return observer.with_args(
        dtype=torch.quint8,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        reduce_range=options["reduce_range"],
    )


def _weight(options: Mapping[str, JsonValue]) -> Any:
    import torch
    from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

    if options["weights"] == "int8/per-channel":
        return PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric
        )
    return MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)


def _same(one: Any, other: Any) -> bool:
    """True for two observer factories that build the same observer."""
    return one is other or (
        getattr(one, "p", None) is not None
        and getattr(other, "p", None) is not None
        and (one.p.func, one.p.keywords) == (other.p.func, other.p.keywords)
    )
