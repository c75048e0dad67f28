"""Per-layer comparison on one model and 64 images: ours against ONNX Runtime's ``qdq_loss_debug``.

Each side runs in a fresh process on one thread, in turns, with the same float and QDQ files and the
same inputs. Memory is what the comparison adds to the process after its imports.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.bench.harness import Row, child

IMAGES = 64
ROUNDS = 3


def run() -> list[Row]:
    """Medians of three rounds a side."""
    with tempfile.TemporaryDirectory() as folder:
        made = child("tests.bench.layers_make", folder=folder, images=IMAGES)
        results: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
        for _ in range(ROUNDS):
            for side, rows in results.items():
                rows.append(child("tests.bench.layers_side", folder=Path(folder), side=side))
    median = {
        side: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for side, rows in results.items()
    }
    note = (
        f"{median['ours']['compared']:.0f} layers ours, {median['peer']['compared']:.0f} tensors"
        f" theirs, {IMAGES} images, {'real' if made['real'] else 'photo crops'}"
    )
    return [
        Row(
            bench="layers",
            what="EfficientNet-Lite0, time",
            ours=median["ours"]["seconds"],
            other=median["peer"]["seconds"],
            unit="s",
            target="ratio <= 0.5",
            limit=0.5,
            note=note,
        ),
        Row(
            bench="layers",
            what="EfficientNet-Lite0, extra memory",
            ours=median["ours"]["extra_bytes"] / 2**20,
            other=median["peer"]["extra_bytes"] / 2**20,
            unit="MiB",
            target="ratio <= 0.2",
            limit=0.2,
            note=note,
        ),
    ]
