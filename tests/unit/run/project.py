"""A throw-away project for the engine's tests: a tiny ONNX model, data that misbehaves on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

FAULTS = """
import json, os, resource, signal, subprocess, sys, time
from pathlib import Path

import numpy as np


def good(samples=20):
    rng = np.random.default_rng(0)
    return rng.standard_normal((samples, 4)).astype(np.float32), np.arange(samples) % 3


def segfault():
    print("about to crash")
    os.kill(os.getpid(), signal.SIGSEGV)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    print("about to hang")
    time.sleep(600)


def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stubborn")
    time.sleep(600)


def spin():
    print("x" * 1000)
    while True:
        pass


def allocate():
    blocks = []
    while True:
        blocks.append(np.ones(4_000_000))
        time.sleep(0.005)


def allocate_in_child():
    code = "import time; x = b'1' * 900_000_000; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code])


def leave():
    print("leaving early")
    sys.exit(0)


def exit_code():
    os._exit(7)


def wrong():
    raise ValueError("no such thing")


def chatty():
    for i in range(20000):
        print("line", i, chr(27) + "[31mred" + chr(27) + "[0m", "y" * 100)
    os._exit(9)


def work():
    return Path(sys.argv[1])


def forge(nonce="0" * 32, case_id=None):
    job = json.loads((work() / "job.json").read_text())
    answer = {
        "nonce": job["nonce"] if nonce is None else nonce,
        "case_id": case_id or job["case"]["id"],
        "observation": None,
        "failure": {"kind": "refused", "stage": "x", "message": "forged", "last_output": ""},
    }
    (work() / "result.json").write_text(json.dumps(answer))
    os._exit(0)


def no_room():
    # From here on no file of this process, its result and its log included, may grow.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return good()


def truncated():
    (work() / "result.json").write_text('{"nonce": "abc", "case_id"')
    os._exit(0)


def orphan(pid_file):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True)
    Path(pid_file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def announce_nonsense():
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2:
            try:
                os.write(descriptor, b'not json\\n[1]\\n{"stage": 5}\\n{"done": 1}\\n' + b"z" * 70000)
            except OSError:
                continue
    return good()
"""


def make_project(root: Path) -> Path:
    """Write project file, trusted module and model."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["faults"]\n')
    (root / "faults.py").write_text(FAULTS)
    weights = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"], name="fc")],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, str(root / "tiny.onnx"))
    return root


def spec_of(entry: str, **changes: Any) -> dict[str, Any]:
    """A spec whose data comes from ``entry`` of the trusted module."""
    kwargs = changes.pop("kwargs", {})
    spec: dict[str, Any] = {
        "version": 1,
        "model": {
            "id": "tiny",
            "task": "image-classification",
            "reference": {"source": "onnx", "path": "tiny.onnx"},
            "inputs": {"x": {"shape": ["N", 4], "dtype": "float32"}},
        },
        "data": {"evaluation": {"source": "python", "entry": f"faults:{entry}", "kwargs": kwargs}},
        "quantizations": {"dyn": {"method": "onnxruntime-dynamic"}},
        "targets": {"ort": {"backend": "onnxruntime", "threads": 1}},
        "run": {"timing": {"warmup": 2, "rounds": 4}, "timeout": "60 s"},
        "baseline": "ignore",
        "tolerances": {"numerical": {"finite": True}},
    }
    for key, value in changes.items():
        spec[key] = {**spec[key], **value} if key == "run" else value
    return spec


def write_spec(root: Path, name: str, spec: dict[str, Any]) -> str:
    """Write a spec file and return its path."""
    path = root / f"{name}.json"
    path.write_text(json.dumps(spec))
    return str(path)
