"""Flipped samples on their way from the worker to ``<run>/flips/<case>.json``, where reports find them.

They decide nothing, so a run without them is whole; but what a worker hands over is checked like
its answer, because the reports show it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from gate.core.case import Case
from gate.core.convert import MalformedRecordError
from gate.core.flips import Flips
from gate.run.job import Job, read_record, write_record
from gate.run.store import escaped
from gate.tiers.flips import FLIPS_KEPT, PICTURE_PIXELS, FlipCollector, Thumbnails

HANDOVER_FILE = "flips.json"
_MAX_BYTES = 512 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What the worker writes; the nonce tells it from a file that someone else wrote."""

    nonce: str
    flips: Flips


def collector(case: Case, *, pictures: bool) -> FlipCollector:
    """A collector that draws the inputs of image tasks alone."""
    wanted = pictures and case.model.task == "image-classification"
    return FlipCollector(case.id, Thumbnails(case.data.preprocess) if wanted else None)


def hand_over(work: Path, job: Job, flips: Flips) -> None:
    """The worker's side; nothing is written where nothing flipped."""
    if flips.kept:
        write_record(work / HANDOVER_FILE, Handover(nonce=job.nonce, flips=flips))


def take_over(work: Path, job: Job, run_dir: Path) -> str:
    """The engine's side: check the worker's file and store it in the run's folder.

    Returns:
        What is wrong with the file, which is then left out; empty where it is sound or absent.

    Raises:
        OSError: the run folder cannot be written.
    """
    source = work / HANDOVER_FILE
    try:
        if source.is_symlink() or source.stat().st_size > _MAX_BYTES:
            return f"flipped samples left out: more than {_MAX_BYTES} bytes, or a link"
        handover = read_record(source, Handover)
    except FileNotFoundError:
        return ""
    except (OSError, MalformedRecordError) as error:
        return f"flipped samples left out: {error}"
    flips = handover.flips
    if handover.nonce != job.nonce or flips.case_id != job.case.id:
        return "flipped samples left out: they were not written by this case's worker"
    if len(flips.kept) > FLIPS_KEPT or not all(_small_png(flip.png) for flip in flips.kept):
        return "flipped samples left out: too many, or a picture that is no small PNG"
    path = flips_path(run_dir, job.case.id)
    path.parent.mkdir(exist_ok=True)
    write_record(path, flips)
    return ""


def flips_path(run_dir: Path, case_id: str) -> Path:
    """The file of one case's flipped samples."""
    return run_dir / "flips" / f"{escaped(case_id)}.json"


def read_flips(run_dir: Path, case_id: str) -> Flips | None:
    """Flipped samples of a case; None where the run kept none.

    Raises:
        MalformedRecordError: the file is broken or belongs to another case.
        OSError: the file cannot be read.
    """
    path = flips_path(run_dir, case_id)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MalformedRecordError(f"{path.name}: more than {_MAX_BYTES} bytes")
        flips = read_record(path, Flips)
    except FileNotFoundError:
        return None
    if flips.case_id != case_id or not all(_small_png(flip.png) for flip in flips.kept):
        raise MalformedRecordError(f"{path.name}: not the flipped samples of {case_id}")
    return flips


def _small_png(text: str | None) -> bool:
    """Whether a picture is absent or a PNG (by its header) of at most ``PICTURE_PIXELS`` a side."""
    if text is None:
        return True
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return False
    sides = (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    return all(0 < side <= PICTURE_PIXELS for side in sides)
