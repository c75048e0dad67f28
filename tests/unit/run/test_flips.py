"""Flipped samples on their way from a real worker into the run's folder and the page."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from gate.cli.main import main
from gate.core.convert import MalformedRecordError
from gate.core.flips import Flip, Flips
from gate.core.status import ExitCode
from gate.run.flips import (
    HANDOVER_FILE,
    Handover,
    flips_path,
    hand_over,
    read_flips,
    take_over,
)
from gate.run.job import Job, write_record
from gate.tiers.flips import FLIPS_KEPT
from tests.unit.run.project import write_spec

CASE = "pictures/given@ort"


def model(path: Path, weights: np.ndarray[Any, Any]) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"], name="fc"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(path),
    )


@pytest.fixture(scope="module")
def spec(project: Path) -> str:
    """Thirty images; the candidate takes class 1 for class 2 and the other way round."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 3)).astype(np.float32)
    images = rng.standard_normal((30, 1, 8, 8)).astype(np.float32)
    labels = (images.reshape(30, 64) @ weights).argmax(axis=1)
    np.savez(project / "images.npz", x=images, y=labels)
    model(project / "float.onnx", weights)
    model(project / "other.onnx", weights[:, [0, 2, 1]])
    return write_spec(
        project,
        "pictures",
        {
            "version": 1,
            "model": {
                "id": "pictures",
                "task": "image-classification",
                "reference": {"source": "onnx", "path": "float.onnx"},
                "inputs": {"x": {"shape": ["N", 1, 8, 8], "dtype": "float32"}},
            },
            "data": {
                "evaluation": {"source": "npz", "path": "images.npz", "inputs": "x", "labels": "y"}
            },
            "quantizations": {"given": {"method": "candidate", "path": "other.onnx"}},
            "targets": {"ort": {"backend": "onnxruntime", "threads": 1}},
            "baseline": "ignore",
            "tolerances": {"numerical": {"finite": True}},
        },
    )


def run(spec: str, out: Path, *more: str) -> int:
    return main(["run", "--quiet", "--out", str(out), *more, spec])


def test_a_run_keeps_them_and_the_page_shows_them(spec: str, tmp_path: Path) -> None:
    run(spec, tmp_path / "run", "--html", str(tmp_path / "page.html"))
    flips = read_flips(tmp_path / "run", CASE)
    assert flips is not None
    assert flips.lost > FLIPS_KEPT
    assert len(flips.kept) == FLIPS_KEPT
    assert all(flip.png and {flip.label, flip.candidate} == {1, 2} for flip in flips.kept)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.count("data:image/png;base64,") == FLIPS_KEPT
    assert f"{flips.lost - FLIPS_KEPT} more flipped samples were not kept" in text


def test_pictures_can_be_left_out_and_samples_stay(spec: str, tmp_path: Path) -> None:
    run(spec, tmp_path / "run", "--no-pictures")
    flips = read_flips(tmp_path / "run", CASE)
    assert flips is not None
    assert [flip.png for flip in flips.kept] == [None] * FLIPS_KEPT


def test_judging_again_writes_the_same_page(spec: str, tmp_path: Path) -> None:
    code = run(spec, tmp_path / "run", "--html", str(tmp_path / "a.html"))
    (results,) = (tmp_path / "run" / "results").glob("*.json")
    for folder in (tmp_path / "run", tmp_path / "run" / "run.json", results):
        assert main(["judge", str(folder), "--html", str(tmp_path / "b.html")]) == code
        assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_shards_bring_theirs_along(spec: str, project: Path, tmp_path: Path) -> None:
    other = write_spec(project, "pictures-too", json.loads(Path(spec).read_text()))
    for index in (1, 2):
        shard = ["--shard", f"{index}/2", "--out", str(tmp_path / "shards" / str(index))]
        main(["run", "--quiet", spec, other, *shard])
    page = tmp_path / "page.html"
    main(["merge", str(tmp_path / "shards"), "--out", str(tmp_path / "all"), "--html", str(page)])
    assert page.read_text("utf-8").count("data:image/png;base64,") == 2 * FLIPS_KEPT
    again = tmp_path / "again.html"
    main(["judge", str(tmp_path / "all"), "--html", str(again)])
    assert again.read_bytes() == page.read_bytes()


def test_broken_flips_are_said_and_the_page_is_written(
    spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(spec, tmp_path / "run")
    flips_path(tmp_path / "run", CASE).write_text("{")
    page = tmp_path / "page.html"
    assert main(["judge", str(tmp_path / "run"), "--html", str(page)]) == code
    assert "not shown" in capsys.readouterr().err
    assert "the run kept no record of the flipped samples" in page.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_no_pass(spec: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    page = tmp_path / "file" / "page.html"
    assert run(spec, tmp_path / "run", "--html", str(page)) == ExitCode.INFRASTRUCTURE


def test_without_jinja_the_option_is_refused_before_anything_runs(
    spec: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gate.report.emit.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as left:
        run(spec, tmp_path / "run", "--html", "page.html")
    assert left.value.code == ExitCode.USAGE
    assert "pip install 'quantgate[html]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


FLIP = Flip(sample=0, index=0, label=1, reference=1, candidate=2)


def picture(width: int = 8, data: bytes = b"") -> str:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + (8).to_bytes(4, "big")
    return base64.b64encode(header + data).decode()


@pytest.fixture
def job(planned: Callable[..., Any], tmp_path: Path) -> Job:
    (case,) = planned().cases
    return Job(
        case=case,
        nonce="right",
        cache_dir=tmp_path,
        cache_bytes=1,
        lock_dir=tmp_path,
        jobs=1,
    )


def flips(job: Job, *kept: Flip) -> Flips:
    return Flips(case_id=job.case.id, lost=len(kept), gained=0, kept=kept)


def test_what_a_worker_hands_over_is_stored(job: Job, tmp_path: Path) -> None:
    given = flips(job, replace(FLIP, png=picture()))
    hand_over(tmp_path, job, given)
    assert take_over(tmp_path, job, tmp_path) == ""
    assert read_flips(tmp_path, job.case.id) == given


def test_nothing_is_stored_where_nothing_flipped(job: Job, tmp_path: Path) -> None:
    hand_over(tmp_path, job, flips(job))
    assert take_over(tmp_path, job, tmp_path) == ""
    assert read_flips(tmp_path, job.case.id) is None


@pytest.mark.parametrize(
    ("kept", "nonce", "said"),
    [
        ([FLIP], "wrong", "not written by this case's worker"),
        ([FLIP] * (FLIPS_KEPT + 1), "right", "too many"),
        ([replace(FLIP, png=picture(65))], "right", "no small PNG"),
        ([replace(FLIP, png=picture(0))], "right", "no small PNG"),
        ([replace(FLIP, png="data:text/html,<script>")], "right", "no small PNG"),
        ([replace(FLIP, png=base64.b64encode(b"<svg onload=x>").decode())], "right", "no small"),
        ([replace(FLIP, png=picture(8, b"x" * 600_000))], "right", "more than"),
    ],
)
def test_what_nobody_should_hand_over_is_left_out_and_told(
    job: Job, tmp_path: Path, kept: list[Flip], nonce: str, said: str
) -> None:
    write_record(tmp_path / HANDOVER_FILE, Handover(nonce=nonce, flips=flips(job, *kept)))
    assert said in take_over(tmp_path, job, tmp_path)
    assert read_flips(tmp_path, job.case.id) is None


def test_a_link_or_half_a_file_is_left_out_and_told(job: Job, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    write_record(secret, Handover(nonce="right", flips=flips(job, FLIP)))
    (tmp_path / HANDOVER_FILE).symlink_to(secret)
    assert "a link" in take_over(tmp_path, job, tmp_path)
    (tmp_path / HANDOVER_FILE).unlink()
    (tmp_path / HANDOVER_FILE).write_text(secret.read_text()[:40])
    assert "left out" in take_over(tmp_path, job, tmp_path)


def test_flips_of_another_case_are_not_read(job: Job, tmp_path: Path) -> None:
    path = flips_path(tmp_path, "x/y@z")
    path.parent.mkdir()
    write_record(path, flips(job, FLIP))
    with pytest.raises(MalformedRecordError, match=re.escape("x/y@z")):
        read_flips(tmp_path, "x/y@z")
    assert json.loads(path.read_text())["case_id"] == job.case.id
