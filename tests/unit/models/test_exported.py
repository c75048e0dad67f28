"""torch.export programs: opened, and refused where torch would run what is inside."""

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.core.spec import InputSpec, ModelSpec
from gate.models.base import LoadedModel, ModelError
from gate.models.conversions import convert

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 2)
    ).eval()
    path = tmp_path_factory.mktemp("pt2") / "m.pt2"
    exported = torch.export.export(
        module, (torch.randn(3, 1, 4, 4),), dynamic_shapes=({0: torch.export.Dim("N")},)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about saving
        torch.export.save(exported, path)
    return path


def load(path: Path) -> LoadedModel:
    spec = ModelSpec(
        id="m",
        task="other",
        source="exported",
        options={"path": str(path)},
        inputs={"x": InputSpec(shape=("N", 1, 4, 4), dtype="float32")},
    )
    loaded = plugins.load("sources", "exported").load(spec, seed=0)
    assert isinstance(loaded, LoadedModel)
    return loaded


def tamper(source: Path, target: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an archive with one member changed (or added, where it is absent)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        root = names[0].split("/", 1)[0]
        for name in names:
            content = old.read(name)
            new.writestr(name, change(content) if name == f"{root}/{member}" else content)
        if f"{root}/{member}" not in names:
            new.writestr(f"{root}/{member}", change(b""))
    return target


def test_a_program_runs_as_a_module_and_as_onnx(program: Path, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = load(program)
    module = convert(model, Format.TORCH_MODULE, out_dir=tmp_path)
    onnx = convert(model, Format.ONNX, out_dir=tmp_path)
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = module.module(x).numpy()
    session = ort.InferenceSession(onnx.path)
    np.testing.assert_allclose(
        session.run(["output"], {"x": x.numpy()})[0], expected, rtol=1e-4, atol=1e-6
    )


def _pickled(content: bytes) -> bytes:
    config = json.loads(content)
    next(iter(config["config"].values()))["use_pickle"] = True
    return json.dumps(config).encode()


def _expression(text: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        old = content.decode()
        start = old.index('"expr_str": "') + len('"expr_str": "')
        return (old[:start] + text + old[old.index('"', start) :]).encode()

    return change


def _target(content: bytes) -> bytes:
    return content.replace(b"torch.ops.aten.relu.default", b"torch.hub.load")


@pytest.mark.parametrize(
    ("member", "change", "said"),
    [
        ("data/weights/model_weights_config.json", _pickled, "pickled object"),
        ("models/model.json", _expression("exec('import os')"), "size expression"),
        ("models/model.json", _expression("exit()"), "size expression"),
        ("models/model.json", _expression("s0.__class__"), "size expression"),
        ("models/model.json", _target, "calls 'torch.hub.load'"),
        ("data/aotinductor/model/m.so", lambda _: b"\x7fELF", "compiled libraries"),
        ("data/sample_inputs/model.pt", lambda _: b"cos\nsystem\n(S'true'\ntR.", "sample inputs"),
        ("models/model.json", lambda _: b"{", "is damaged"),
    ],
)
def test_what_torch_would_run_is_refused(
    program: Path, tmp_path: Path, member: str, change: Callable[[bytes], bytes], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        load(tamper(program, tmp_path / "m.pt2", member, change))


UNDER_CONFIG = "weights/model_weights_config.json"


@pytest.mark.parametrize(
    "added",
    [
        [f"data/{UNDER_CONFIG}".upper()],
        [f"data/{UNDER_CONFIG}".upper(), f"data/{UNDER_CONFIG}".title()],
        [f"{data}/{UNDER_CONFIG}" for data in ("Data", "dAta", "daTa", "datA")],
        [f"data/{UNDER_CONFIG}"],  # twice the same
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_torch_does_not_tell_apart_are_refused(
    program: Path, tmp_path: Path, added: list[str]
) -> None:
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        root = old.namelist()[0].split("/", 1)[0]
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name in added:
            new.writestr(f"{root}/{name}", _pickled(old.read(f"{root}/data/{UNDER_CONFIG}")))
    with pytest.raises(ModelError, match="which torch does not tell apart"):
        load(tmp_path / "m.pt2")


def test_a_config_is_looked_at_wherever_torch_looks(program: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(program) as archive:
        root = archive.namelist()[0].split("/", 1)[0]
        evil = _pickled(archive.read(f"{root}/data/{UNDER_CONFIG}"))
    for member in (f"DATA/{UNDER_CONFIG.replace('model_', 'b_')}", "data/weights/a/b_CONFIG.json"):
        with pytest.raises(ModelError, match="pickled object"):
            load(tamper(program, tmp_path / "m.pt2", member, lambda _: evil))


@pytest.mark.parametrize("name", ["version", "other/version", "OTHER/data/weights/weight_0"])
def test_an_archive_has_one_top_folder(program: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
        new.writestr(name, b"8.8")
    with pytest.raises(ModelError, match="not all in one top folder"):
        load(tmp_path / "m.pt2")


def test_two_tables_of_contents_are_refused(program: Path, tmp_path: Path) -> None:
    """The end of an archive points at its table; some readers take the one just before the end."""
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
        start = new.start_dir
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    table = content[start:end]
    other = table.replace(b"weight_0", b"weight_7")
    path.write_bytes(content[:start] + other + table + content[end:])
    with pytest.raises(ModelError, match="two tables of contents"):
        load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"is no torch\.export archive"):
        load(tmp_path / "m.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, which is the point
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt2")
    with pytest.raises(ModelError, match="must be exported again"):
        load(tmp_path / "script.pt2")
