from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gate import plugins
from gate.core.spec import RunSpec
from gate.core.status import Tier
from gate.spec import load, schema
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs

Write = Callable[[str, str], Path]


def messages(*paths: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_specs(paths)
    assert str(caught.value) == "\n".join(map(str, caught.value.diagnostics))
    return [str(d) for d in caught.value.diagnostics]


def test_a_spec_is_built_with_its_defaults(write: Write, small: str, tmp_path: Path) -> None:
    write("specs/digits_cnn.yaml", small)
    (spec,) = load_specs(["specs/digits_cnn.yaml"])
    assert (spec.id, spec.path) == ("digits_cnn", "specs/digits_cnn.yaml")
    assert spec.run == RunSpec()
    assert spec.baseline_policy == "require"
    assert spec.model.options == {"path": str(tmp_path / "specs/models/digits.onnx")}
    assert spec.model.inputs["image"].shape == ("N", 1, 8, 8)
    assert spec.data.calibration is not None
    assert spec.data.calibration.samples == 64
    assert spec.data.calibration.options == {"split": "train"}
    assert (spec.data.evaluation.samples, spec.data.evaluation.skip) == (None, 0)
    assert [t.threads for t in spec.targets] == [1, 4]
    assert [(t.tier, t.metric, t.text) for t in spec.tolerances] == [
        (Tier.NUMERICAL, "relative_mse", "< 1 %"),
        (Tier.NUMERICAL, "sqnr", ">= 20 dB"),
        (Tier.NUMERICAL, "sqnr", ">= baseline - 1 dB"),
        (Tier.DEVICE, "top1_drop", "< 1 pp"),
    ]
    assert str(spec.tolerances[1].where) == "specs/digits_cnn.yaml:17:45"


def test_everything_that_a_spec_says_arrives(write: Write, small: str) -> None:
    extra = """\
requires: {packages: [onnx], env: [GATE_DATA], install: hint}
run:
  {batch: 8, layer_samples: 4, timing: {batch: 2, warmup: 3, rounds: 5}, timeout: 2 min, memory: 1 GiB, seed: 9}
baseline: record
matrix: {include: [{quantization: "*"}], exclude: [{quantization: dynamic, target: ort-4}]}
"""
    write("a.yaml", "id: own\n" + small + extra)
    (spec,) = load_specs(["a.yaml"])
    assert spec.id == "own"
    assert spec.run == RunSpec(
        batch=8,
        layer_samples=4,
        timing_batch=2,
        timing_warmup=3,
        timing_rounds=5,
        timeout_seconds=120.0,
        memory_bytes=1024**3,
        seed=9,
    )
    assert (spec.include, spec.exclude) == ((("*", "*"),), (("dynamic", "ort-4"),))
    assert spec.requires.packages == ("onnx",)
    assert spec.requires.env == ("GATE_DATA",)
    assert spec.requires.install_hint == "hint"
    assert spec.baseline_policy == "record"


def test_directories_are_walked_without_fragments(write: Write, small: str) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        "sub/c.json",
        "_base.yaml",
        ".hidden.yaml",
        "_x/d.yaml",
        "n.txt",
    ):
        text = small if name.endswith(("yaml", "yml")) else '{"extends": "../b.yaml"}'
        write(f"specs/{name}", text)
    assert [spec.path for spec in load_specs(["specs"])] == [
        "specs/a.yml",
        "specs/b.yaml",
        "specs/sub/c.json",
    ]
    assert [spec.id for spec in load_specs(["specs/_base.yaml"])] == ["_base"]


def test_links_between_directories_are_followed_once(
    write: Write, small: str, tmp_path: Path
) -> None:
    write("specs/a.yaml", small)
    for name in ("one", "two"):
        (tmp_path / "specs" / name).symlink_to(tmp_path / "specs")
    write("elsewhere/b.yaml", small)
    (tmp_path / "specs/there").symlink_to(tmp_path / "elsewhere")
    assert [spec.path for spec in load_specs(["specs"])] == ["specs/a.yaml", "specs/there/b.yaml"]


def test_a_third_party_plugin_that_cannot_be_loaded_is_told(
    write: Write, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.yaml", small)
    line = plugins.Plugin("absent_module:Backend", "from elsewhere")
    monkeypatch.setitem(plugins.table("backends"), "third", line)
    schema.current.cache_clear()
    try:
        assert messages("a.yaml") == [
            (
                "installed plugins:1:1: backends: 'third' cannot be loaded from absent_module:Backend: "
                "No module named 'absent_module'"
            )
        ]
    finally:
        schema.current.cache_clear()


def test_a_file_that_is_named_twice_is_read_once(write: Write, small: str) -> None:
    write("specs/a.yaml", small)
    assert len(load_specs(["specs", "specs/a.yaml", "./specs/../specs/a.yaml"])) == 1


def test_no_spec_is_an_error(write: Write, tmp_path: Path) -> None:
    write("specs/_base.yaml", "a: 1\n")
    assert messages("specs") == ["specs:1:1: no spec in this directory"]
    assert messages() == [".:1:1: no spec was given"]
    assert messages("absent.yaml") == ["absent.yaml:1:1: cannot be read: No such file or directory"]
    assert messages("absent") == [
        "absent:1:1: a spec is one of .yaml, .yml, .json or a directory of them"
    ]
    assert "embedded null byte" in messages("a\0.yaml")[0]
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    assert "symbolic links" in messages("loop.yaml")[0]


def test_the_mistakes_of_all_files_are_told_at_once(write: Write, small: str) -> None:
    write("specs/a.yaml", small.replace("ort:", "ort: {bakend: x}\n  b:"))
    write("specs/b.yaml", "a: [\n")
    write("specs/c.yaml", small)
    files = [line.split(":")[0] for line in messages("specs", "absent.yaml")]
    assert files == ["specs/a.yaml", "specs/b.yaml", "absent.yaml"]


def test_ids_are_distinct(write: Write, small: str) -> None:
    write("one/a.yaml", small)
    write("two/a.yaml", small)
    assert messages("one", "two") == [
        (
            "two/a.yaml:1:1: id: the id 'a' is already that of one/a.yaml "
            "(the id is the file's stem where none is given)"
        )
    ]


def test_a_stem_that_is_no_name_needs_an_id(write: Write, small: str) -> None:
    write("my spec.yaml", small)
    assert messages("my spec.yaml") == [
        "my spec.yaml:1:1: id: the file's stem 'my spec' cannot be an id (give the spec an id)"
    ]
    write("my spec.yaml", "id: mine\n" + small)
    assert load_specs(["my spec.yaml"])[0].id == "mine"


def test_a_file_full_of_mistakes_does_not_bury_the_others(write: Write, small: str) -> None:
    write("a.yaml", small + "".join(f"key{i}: 1\n" for i in range(500)))
    write("b.yaml", small + "key: 1\n")
    found = messages("a.yaml", "b.yaml")
    assert len(found) == load.MOST_SHOWN + 2
    assert "a.yaml:1:1: 400 more mistakes are not shown" in found
    assert found[-1].startswith("b.yaml:19:1: key: unknown key")


def test_names_that_are_not_utf8_can_be_printed(write: Write) -> None:
    write("x.yaml", "a: 1\n")
    (line,) = messages("caf\udce9.yaml")
    line.encode()


def test_paths_are_relative_to_the_file_they_stand_in(
    write: Write, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTS", "deep/er")
    write("shared/_base.yaml", small)
    write("specs/a.yaml", "extends: ../shared/_base.yaml\n")
    write(
        "specs/b.yaml",
        'extends: ../shared/_base.yaml\nmodel: {reference: {path: "../${WEIGHTS}/b.onnx"}}\n',
    )
    first, second = load_specs(["specs"])
    assert first.model.options["path"] == str(tmp_path / "shared/models/digits.onnx")
    assert second.model.options["path"] == str(tmp_path / "deep/er/b.onnx")


def test_an_unset_variable_that_is_declared_is_left_as_written(
    write: Write, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATE_TEST_MODELS", raising=False)
    text = small.replace("models/digits.onnx", '"${GATE_TEST_MODELS}/digits.onnx"')
    write("a.yaml", text)
    assert "GATE_TEST_MODELS is not set" in messages("a.yaml")[0]
    monkeypatch.setenv("GATE_TEST_MODELS", "")
    assert "GATE_TEST_MODELS is not set" in messages("a.yaml")[0]
    write("a.yaml", text + "requires: {env: [GATE_TEST_MODELS]}\n")
    (spec,) = load_specs(["a.yaml"])
    assert spec.model.options["path"] == "${GATE_TEST_MODELS}/digits.onnx"


def test_folders_without_permission_are_told_as_files_are(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read anything, so the answer of the system is put in its place."""
    write("a.yaml", "extends: locked/base.yaml\n")
    is_dir, is_file, open_ = Path.is_dir, Path.is_file, Path.open

    def refuse(inner):
        def asked(self, *args, **kwargs):
            if "locked" in self.parts:
                raise PermissionError(13, "Permission denied", str(self))
            return inner(self, *args, **kwargs)

        return asked

    for name, inner in (("is_dir", is_dir), ("is_file", is_file), ("open", open_)):
        monkeypatch.setattr(Path, name, refuse(inner))
    assert messages("locked/b.yaml", "a.yaml") == [
        "locked/b.yaml:1:1: cannot be read: Permission denied",
        "locked/base.yaml:1:1: cannot be read: Permission denied",
    ]


def test_what_is_wrong_only_in_a_file_that_extends_names_that_file(
    write: Write, small: str
) -> None:
    write("base.yaml", small)
    write(
        "narrow.yaml",
        "extends: base.yaml\nid: narrow\nmatrix: {include: [{quantization: dynamic}]}\n",
    )
    (message,) = messages("narrow.yaml")
    assert message.startswith("base.yaml:11:3: quantizations.static: the matrix leaves no pair")
    assert message.endswith("(as narrow.yaml extends it)")
