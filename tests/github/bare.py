"""A machine with nothing but what was installed: a pip that writes down what it is asked for, and
interpreters that find only the packages of the extras that it was given.

In front of ``PYTHONPATH``. What is installed is remembered beside ``GITHUB_WORKSPACE``, so that each
job starts anew; without that variable nothing is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTES = "pip.json"

_PIP = """import importlib.metadata, json, os, sys
from pathlib import Path

words = sys.argv[1:]
if "--dry-run" in words:
    names = [word for word in words[words.index("-") + 1 :]]
    found = [{"metadata": {"name": n, "version": importlib.metadata.version(n)}} for n in names]
    print(json.dumps({"install": found}))
else:
    _, _, extras = words[-1].rstrip("]").partition("[")
    notes = Path(os.environ["GITHUB_WORKSPACE"]).parent / "pip.json"
    asked = {"constraints": words[words.index("-c") + 1], "extras": extras.split(",")}
    notes.write_text(json.dumps(asked))
"""

_SITE = '''import importlib.machinery, json, os, re, sys
from pathlib import Path

PACKAGES = {
    "torch": ["torch", "torchvision", "safetensors"],
    "onnxruntime": ["onnx", "onnxruntime", "onnxscript", "sympy"],
    "images": ["PIL:pillow"],
    "sklearn": ["sklearn:scikit-learn", "scipy"],
    "html": ["jinja2"],
    "others": ["torchao", "nncf", "keras", "tensorflow:tensorflow-cpu", "ai_edge_litert:ai-edge-litert"],
}
workspace = os.environ.get("GITHUB_WORKSPACE")
notes = Path(workspace).parent / "pip.json" if workspace else None
installed = json.loads(notes.read_text())["extras"] if notes and notes.is_file() else []
absent = [p for extra, names in PACKAGES.items() if extra not in installed for p in names]
modules = {package.partition(":")[0] for package in absent}
names = {package.rpartition(":")[2] for package in absent}


class Installed:
    """The finder of installed packages, but for those that are not there."""

    def __getattr__(self, name):
        return getattr(importlib.machinery.PathFinder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in modules:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

    def find_distributions(self, context):
        if re.sub(r"[-_.]+", "-", context.name or "").lower() in names:
            return []
        return importlib.machinery.PathFinder.find_distributions(context)


sys.meta_path[:] = [
    Installed() if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path
]
'''


def bare(folder: Path) -> dict[str, str]:
    """Write the stand-ins; the environment in which they are found."""
    (folder / "pip").mkdir(parents=True)
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(_PIP)
    (folder / "sitecustomize.py").write_text(_SITE)
    return {"PYTHONPATH": str(folder)}


def asked_of_pip(scratch: Path, job: str) -> Any:
    """``constraints`` and ``extras`` of the installation in the job of a run below ``scratch``."""
    (notes,) = scratch.glob(f"*-{job}-0/{NOTES}")
    return json.loads(notes.read_text("utf-8"))
