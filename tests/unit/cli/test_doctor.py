import json
from importlib import metadata

import pytest

from gate import plugins
from gate.cli.main import main
from gate.core.status import ExitCode


def doctor(capsys, *words):
    code = main(["doctor", *words])
    return code, capsys.readouterr().out


@pytest.fixture
def extra_line(monkeypatch):
    """Adds a line to a plugin table for one test."""

    def add(kind, name, path):
        lines = {**plugins.table(kind), name: plugins.Plugin(path, "from a test")}
        table = plugins.table
        monkeypatch.setattr(plugins, "table", lambda k: lines if k == kind else table(k))
        plugins.load.cache_clear()

    yield add
    plugins.load.cache_clear()


def test_it_names_every_plugin_of_every_table(capsys):
    code, text = doctor(capsys, "--json")
    assert code == ExitCode.PASS
    found = {(f["kind"], f["name"].partition("/")[0]) for f in json.loads(text)["plugins"]}
    assert found == {(kind, name) for kind, lines in plugins.BUILTIN.items() for name in lines}


def test_available_ones_say_the_installed_version(capsys):
    _, text = doctor(capsys, "--json")
    by_name = {(f["kind"], f["name"]): f for f in json.loads(text)["plugins"]}
    digits = by_name["data", "sklearn-digits"]
    assert digits["state"] == "available"
    assert digits["versions"] == {"scikit-learn": metadata.version("scikit-learn")}
    static = by_name["quantizers", "onnxruntime-static"]
    assert static["versions"]["onnxruntime"] == metadata.version("onnxruntime")


def test_a_backend_with_several_engines_says_each(capsys):
    _, text = doctor(capsys, "--json")
    engines = {f["name"] for f in json.loads(text)["plugins"] if f["name"].startswith("torch/")}
    assert {"torch/x86", "torch/fbgemm", "torch/onednn", "torch/qnnpack"} <= engines


def test_it_describes_machine_and_cache(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GATE_CACHE", str(tmp_path))
    (tmp_path / "one").write_bytes(b"x" * 1500)
    _, text = doctor(capsys)
    assert f"{tmp_path} (1.5 kB)" in text
    assert "environment class" in text
    report = json.loads(doctor(capsys, "--json")[1])
    assert report["cache_bytes"] == 1500
    assert report["environment_class"].endswith("-".join(report["isa"] or ["generic"]))


def test_what_is_not_installed_is_said_with_the_way_out_and_is_no_error(capsys, extra_line):
    extra_line("data", "absent", f"{__name__}:Absent")
    code, text = doctor(capsys)
    assert code == ExitCode.PASS
    assert "absent is not installed: pip install absent" in text


@pytest.mark.parametrize(
    "path", ["no_such_module:Thing", f"{__name__}:NoSuchClass", f"{__name__}:Raises"]
)
def test_a_broken_table_line_is_an_infrastructure_error(capsys, extra_line, path):
    extra_line("data", "odd", path)
    code, text = doctor(capsys)
    assert code == ExitCode.INFRASTRUCTURE
    assert "broken" in text
    assert path in text


class Absent:
    def unavailable(self):
        return "absent is not installed: pip install absent"


class Raises:
    def unavailable(self):
        raise RuntimeError("on purpose")
