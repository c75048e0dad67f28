"""Findings that no tolerance names: what is suspicious in a result that looks good.

They are demanded of every case; an override of a spec drops one by its name, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping

IDENTICAL = "identical"
FLOAT_WEIGHTS_KEPT = "float_weights_kept"
NOTHING_QUANTIZED = "nothing_quantized"
REFERENCE_QUANTIZED = "reference_quantized"
SIZE_REDUCTION = "size_reduction"
SPEED_FOR_ACCURACY = "speed_for_accuracy"
STALE_BASELINE = "stale_baseline"

FINDINGS: Mapping[str, str] = {
    f"numerical.{IDENTICAL}": "the candidate answers exactly as the reference",
    f"layers.{NOTHING_QUANTIZED}": "no layer is in reduced precision",
    f"layers.{FLOAT_WEIGHTS_KEPT}": "weights lie in floating point beside those that are computed with",
    f"layers.{REFERENCE_QUANTIZED}": "the reference itself has layers in integers",
    f"device.{SIZE_REDUCTION}": "the candidate is no smaller than the reference",
    f"device.{SPEED_FOR_ACCURACY}": "faster than the baseline while the accuracy fell",
    f"numerical.{STALE_BASELINE}": "an output is better than the baseline by more than its band",
    f"layers.{STALE_BASELINE}": "a layer is better than the baseline by more than its band",
    f"device.{STALE_BASELINE}": "a device metric is better than the baseline by more than its band",
}
"""``tier.rule`` -> what it finds."""
