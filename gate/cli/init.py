"""``gate init``: a first spec for a model, with modes that work here and tolerances that were measured."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from gate import plugins
from gate.cli.arguments import positive
from gate.cli.init_data import InitError, first_data, inside, relative
from gate.core.case import Case, Plan
from gate.core.result import CaseResult
from gate.core.spec import InputSpec
from gate.core.status import ExitCode, Status
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.models.base import ModelError
from gate.run.settings import InfrastructureError, RunSettings, default_cache_dir
from gate.spec.diagnostics import SpecError
from gate.spec.entries import ENTRY_PATTERN
from gate.spec.first import FirstSpec, Mode, render
from gate.spec.project import project_root

_INPUT = re.compile(r"(?P<name>[A-Za-z_][\w.]*)=(?P<shape>\d+(?:[,x]\d+)*)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="an ONNX file, the name of a torchvision model, or a package.module:callable",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the spec (default: specs/<model>.yaml)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="an .npz file with an array a model input and perhaps 'labels', or a folder of images"
        " (default: random numbers, which show a broken model but no accuracy)",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=3,224,224",
        help="shape of one sample of an input, where the model does not tell it",
    )
    parser.add_argument(
        "--repeats",
        type=positive,
        default=3,
        metavar="N",
        help="healthy runs that tolerances are taken from (default: 3)",
    )
    parser.add_argument(
        "--no-run", action="store_true", help="measure nothing; write the bare spec"
    )
    parser.add_argument("--force", action="store_true", help="replace a spec that is there")


def run(args: argparse.Namespace) -> int:
    """Inspect, measure, write."""
    try:
        return _init(args)
    except (InitError, ModelError, SpecError) as error:
        sys.stderr.write(f"gate init: {error}\n")
        return ExitCode.USAGE
    except InfrastructureError as error:
        sys.stderr.write(f"gate init: {error}\n")
        return ExitCode.INFRASTRUCTURE


def _init(args: argparse.Namespace) -> int:
    name = _name(args.model)
    out: Path = args.out or project_root() / "specs" / f"{name}.yaml"
    if out.exists() and not args.force:
        raise InitError(f"{out} is there already; --force replaces it, --out names another")
    out.parent.mkdir(parents=True, exist_ok=True)
    spec = _draft(args, name, out)
    if not spec.modes:
        raise InitError("no quantizer and backend work here; see 'gate doctor'")
    if not args.no_run:
        spec = _measured(spec, out, args.repeats)
    out.write_text(render(spec), encoding="utf-8")
    sys.stdout.write(
        f"{out}: {count(len(spec.modes), 'mode')}\n"
        f"next: read it, then 'gate run {_shown(out)}' records the first baselines\n"
    )
    return ExitCode.PASS


def _draft(args: argparse.Namespace, name: str, out: Path) -> FirstSpec:
    reference, inputs = _reference(args, out)
    modes, targets = _modes(str(reference["source"]))
    data = first_data(args.data, inputs, name, out)
    schema = resources.files("gate.spec") / "schema" / "v1.json"
    ours = Path(str(schema)).is_relative_to(project_root())
    return FirstSpec(
        schema=relative(Path(str(schema)), out) if ours else "",
        model_id=name,
        reference=reference,
        inputs=inputs,
        modes=modes,
        targets=targets,
        **data,
    )


def _name(model: str) -> str:
    stem = model.rpartition(":")[2] if ":" in model else Path(model).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("._-") or "model"


def _reference(
    args: argparse.Namespace, out: Path
) -> tuple[dict[str, object], dict[str, InputSpec]]:
    """The reference as the spec names it, and its inputs."""
    model: str = args.model
    given = dict(_given_inputs(args.input))
    path = Path(model)
    if path.suffix == ".onnx" or path.is_file():
        from gate.models.onnx_inputs import declared_inputs

        inputs = {name: given.get(name, i) for name, i in declared_inputs(path).items()}
        return {"source": "onnx", "path": inside(path, out)}, _concrete(inputs)
    if re.fullmatch(ENTRY_PATTERN, model):
        if not given:
            raise InitError("say what the model takes: --input NAME=3,224,224 (without the batch)")
        return {"source": "python", "entry": model}, given
    _check_torchvision(model)
    image = InputSpec(shape=("N", 3, 224, 224), dtype="float32")
    reference: dict[str, object] = {"source": "torchvision", "name": model}
    reference["weights"] = {"enum": "DEFAULT"}
    return reference, given or {"image": image}


def _given_inputs(texts: Sequence[str]) -> Iterator[tuple[str, InputSpec]]:
    for text in texts:
        match = _INPUT.fullmatch(text)
        if match is None:
            raise InitError(f"--input: expected NAME=3,224,224, found '{text}'")
        shape = tuple(int(part) for part in re.split("[,x]", match["shape"]))
        yield match["name"], InputSpec(shape=("N", *shape), dtype="float32")


def _concrete(inputs: dict[str, InputSpec]) -> dict[str, InputSpec]:
    for name, declared in inputs.items():
        if any(isinstance(axis, str) for axis in declared.shape[1:]):
            shape = ", ".join(map(str, declared.shape))
            raise InitError(f"input '{name}' is [{shape}]; say which: --input {name}=3,224,224")
    return inputs


def _check_torchvision(name: str) -> None:
    reason = plugins.load("sources", "torchvision").unavailable()
    if reason is not None:
        raise InitError(f"'{name}' is no file and no package.module:callable, and {reason}")
    from gate.models.torchvision_compat import import_torchvision

    if name not in import_torchvision().models.list_models():
        raise InitError(f"'{name}' is no file, no package.module:callable and no torchvision model")


def _modes(source: str) -> tuple[list[Mode], dict[str, dict[str, object]]]:
    """What this machine has quantizers and backends for."""

    def works(quantizer: str, backend: str) -> bool:
        asked = (plugins.load("quantizers", quantizer), plugins.load("backends", backend))
        return all(plugin.unavailable() is None for plugin in asked)

    modes: list[Mode] = []
    targets: dict[str, dict[str, object]] = {}
    if works("onnxruntime-static", "onnxruntime"):
        options = {"weights": "int8/per-channel", "activations": "uint8"}
        modes.append(Mode(name="ort-static", options={"method": "onnxruntime-static", **options}))
        modes.append(Mode(name="ort-dynamic", options={"method": "onnxruntime-dynamic"}))
        targets["ort-cpu"] = {"backend": "onnxruntime", "threads": 1}
    if source != "onnx" and works("torch-fx-static", "torch"):
        modes.append(Mode(name="torch-static", options={"method": "torch-fx-static"}))
        targets["torch-x86"] = {"backend": "torch", "engine": "x86", "threads": 1}
    return modes, targets


def _measured(spec: FirstSpec, out: Path, repeats: int) -> FirstSpec:
    """The spec with the bounds that healthy runs suggest; modes that do not work are left out."""
    from gate.cli.init_bounds import suggest

    planned = _planned(render(spec), out)
    runs = [_run_once(planned, seed, repeats) for seed in range(repeats)]
    modes: list[Mode] = []
    left_out: dict[str, str] = {}
    for mode in spec.modes:
        found = [r for results in runs for r in results if r.case.quantization.name == mode.name]
        bad = next((why for r in found if (why := _unhealthy(r)) is not None), None)
        if bad is not None or not found:
            left_out[mode.name] = bad or "it fits no target"
            sys.stderr.write(f"{mode.name}: left out: {left_out[mode.name]}\n")
            continue
        observed = [r.observation for r in found if r.observation is not None]
        modes.append(replace(mode, bounds=suggest(observed)))
    if not modes:
        raise InitError("no mode works for this model: " + "; ".join(left_out.values()))
    used = {r.case.target.name for r in runs[0] if r.case.quantization.name not in left_out}
    targets = {name: options for name, options in spec.targets.items() if name in used}
    return replace(spec, modes=modes, targets=targets, left_out=left_out, repeats=repeats)


def _planned(text: str, out: Path) -> Plan:
    """The plan of a draft that lies where the spec will lie, so that its paths hold."""
    from gate.spec.load import load_specs
    from gate.spec.matrix import plan

    with tempfile.NamedTemporaryFile(
        "w", suffix=".yaml", prefix=".draft-", dir=out.parent, encoding="utf-8"
    ) as draft:
        draft.write(text)
        draft.flush()
        return plan(load_specs([draft.name]))


def _run_once(planned: Plan, seed: int, repeats: int) -> list[CaseResult]:
    """One healthy run; each draws other calibration samples, as another engineer would have."""
    from gate.run.engine import run_plan
    from gate.run.store import create_run

    root = project_root()
    settings = RunSettings(
        run_dir=create_run(root / ".gate" / "runs"), cache_dir=default_cache_dir(root)
    )
    sys.stderr.write(f"healthy run {seed + 1} of {repeats}\n")
    cases = tuple(_with_seed(case, seed) for case in planned.cases)
    return list(run_plan(replace(planned, cases=cases), settings=settings))


def _with_seed(case: Case, seed: int) -> Case:
    """Both are drawn with one seed, so that calibration and evaluation stay apart."""
    data = case.data
    calibration = None if data.calibration is None else replace(data.calibration, seed=seed)
    evaluation = replace(data.evaluation, seed=seed)
    return replace(case, data=replace(data, calibration=calibration, evaluation=evaluation))


def _unhealthy(result: CaseResult) -> str | None:
    from gate.core.baseline import BaselineMissing
    from gate.judge.results import verdict_of
    from gate.report.explain import explain

    if result.skipped is not None:
        return result.skipped
    judged = replace(result, case=replace(result.case, baseline_policy="ignore"))
    verdict: Verdict = verdict_of(judged, BaselineMissing(path=""))
    if verdict.status is Status.PASS:
        return None
    lines = explain(verdict)
    # The draft that it points to is gone.
    return re.sub(r" \(\S+:\d+:\d+\)$", "", lines[0].text) if lines else verdict.status.value


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
