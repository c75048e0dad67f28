"""How packages come into a stack: by pip or by uv, both taking from the base what satisfies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

INSTALLERS = ("pip", "uv")
INSTALL_SECONDS = 3600
_THIS = "quantgate"
"""Every stack runs the code of this gate, not an installed one."""
# " + name==1.0", " + name @ file:///x.whl", and of older versions " + name==1.0 (from file:///x.whl)"
_PLANNED = re.compile(r"^ [+~] (?P<name>[\w.-]+)(?P<rest>.*?)(?: \(from (?P<url>.*)\))?$", re.M)


class StackError(Exception):
    """A stack that cannot be made or used; the message is for the user."""


class RequirementError(StackError):
    """What ought to be a requirement is none."""


def bare(requirement: str) -> str:
    """The distribution that a requirement is about, as ``canonicalize_name`` spells it.

    Raises:
        RequirementError: no requirement.
    """
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement as error:
        raise RequirementError(
            f"{requirement!r} is no requirement: {str(error).splitlines()[0]}; write as in"
            " 'onnxruntime==1.31.1'"
        ) from None


def install(
    installer: str, python: Path, base: Path, requirements: Sequence[str], *, whole: bool
) -> None:
    """Install ``requirements`` for ``python``; unless it is ``whole``, what ``base`` has and what
    satisfies them is left out.

    Raises:
        StackError: they cannot be installed.
    """
    if installer == "uv":
        uv = _uv()
        # uv does not see the base's packages behind the stack's own: it is asked what it would do
        # to the base, and that is done here.
        wanted = list(requirements) if whole else _planned(uv, base, requirements)
        alone = [] if whole else ["--no-deps"]
        if wanted:
            run([uv, "pip", "install", "--python", str(python), *alone, *wanted])
        return
    # The base's pip: it shows through, and what it sees of the base's packages it takes as installed;
    # for a whole stack it looks at nothing but that.
    there = ["--python", str(python)] if whole else []
    pip = [str(base if whole else python), "-m", "pip", *there]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _pip([*pip, "install", *options, *requirements], base)


def frozen(installer: str, base: Path, requirements: Sequence[str]) -> list[str]:
    """All that ``base`` has, pinned, but for editable projects, the gate and what ``requirements``
    replace.

    Raises:
        StackError: the base does not tell.
    """
    if installer == "uv":
        said = run([_uv(), "pip", "freeze", "--python", str(base), "--exclude-editable"]).stdout
    else:
        said = _pip([str(base), "-m", "pip", "freeze", "--exclude-editable"], base)
    replaced = {_THIS, *(bare(r) for r in requirements)}
    return [r for r in said.splitlines() if r and bare(r) not in replaced]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run to the end.

    Raises:
        StackError: it cannot be run, or fails.
    """
    try:
        done = subprocess.run(  # noqa: S603 - interpreters that the user named, own arguments
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = "\n  ".join(lines[-6:]) or "it said nothing"
        raise StackError(f"{' '.join(command[:5])} ... failed ({done.returncode}):\n  {said}")
    return done


def _pip(command: Sequence[str], base: Path) -> str:
    try:
        return run(command).stdout
    except StackError as error:
        if "No module named pip" in str(error):
            raise StackError(
                f"{base} has no pip; use --installer uv, or make it: {base} -m ensurepip"
            ) from None
        raise


def _uv() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", ""), str(beside)]))
    if found is None:
        raise StackError("uv is not installed; use --installer pip, or pip install uv")
    return found


def _planned(uv: str, base: Path, requirements: Sequence[str]) -> list[str]:
    """What uv would install into ``base``, as requirements."""
    # Nothing is done to the base, so that one which belongs to the system may be asked too.
    dry = ["--dry-run", "--break-system-packages", "--color", "never"]
    done = run([uv, "pip", "install", *dry, "--python", str(base), *requirements])
    planned = [
        f"{m['name']} @ {m['url']}" if m["url"] else m["name"] + m["rest"]
        for m in _PLANNED.finditer(f"{done.stdout}\n{done.stderr}")
    ]
    if not planned and "Would make no changes" not in done.stderr:
        raise StackError(f"uv told no plan that is understood:\n  {done.stderr.strip()[-500:]}")
    return planned
