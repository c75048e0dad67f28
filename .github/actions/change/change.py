"""Steps of the workflows that change baselines: upgrade, authorize, update, propose, push.

The steps that run models (``upgrade``, ``update``) have a token that only reads and leave a patch;
those that write (``propose``, ``push``) run nothing of it and apply only what it changes in the
baselines and in the constraints file. Standard library only; inputs are environment variables.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gate"))

from gate_action import InputError, call_gate, fail, given, output, selection, specs

BASELINES = "baselines/"
MOST_BODY = 60_000
"""Characters of a pull request's text; GitHub refuses more than 65536 as a whole."""
WRITERS = frozenset({"admin", "maintain", "write"})
COMMENT = re.compile(
    r"/gate baseline (?P<sha>[0-9a-f]{12,40}) (?P<globs>\S+(?: \S+)*?)"
    r"(?: accepting worse (?P<worse>[a-z0-9_.*]+(?: [a-z0-9_.*]+)*))? because (?P<reason>\S.*)"
)
USAGE = (
    "expected a comment of one line:"
    " `/gate baseline <first 12 or more digits of the head commit> <case glob> ..."
    " [accepting worse <metric> ...] because <reason>`"
)
_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})(?:\[bot\])?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")


def main() -> int:
    """Do the step that ``GATE_STEP`` names."""
    steps = {step.__name__: step for step in (upgrade, authorize, update, propose, push)}
    step = steps.get(given("GATE_STEP"))
    if step is None:
        fail(f"step: expected one of {', '.join(steps)}")
        return 2
    try:
        return step()
    except InputError as error:
        fail(str(error))
        return 2
    except subprocess.CalledProcessError as error:
        fail(f"{Path(error.cmd[0]).name} {' '.join(error.cmd[1:2])}: exit code {error.returncode}")
        return 3


# --- reading, with a token that only reads -----------------------------------------------------------


def upgrade() -> int:
    """Compare the newest versions with those in use; leave baselines, pins and report as a patch."""
    packages = given("GATE_PACKAGES").split()
    for name in packages:
        if not _NAME.fullmatch(name):
            raise InputError(f"packages: '{name}' is no name of a package")
    newest = newest_versions(packages)
    installed = installed_versions(packages)
    newer = {
        name: newest[name]
        for name in packages
        if _plain(newest[name]) != _plain(installed.get(name, ""))
    }
    if not newer:
        print("nothing is newer than what is installed")
        output({"changed": "false"})
        return 0
    folder, constraints = change_folder(), Path(pins())
    wanted = [f"{name}=={version}" for name, version in newest.items()]
    words = ["upgrade", *wanted, "--specs", *specs(), "--report", str(folder / "report.md")]
    # The job is made for accepting results, which the gate refuses in CI without this word.
    code = call_gate([*words, "--update-baselines", "--in-ci", *worse()])
    notes = []
    if code != 0:
        notes.append(
            f"`gate upgrade` ended with exit code {code}; its log says which baselines were not"
            " accepted, and why. What may get worse is named by `accept-worse`."
        )
    if constraints.is_file():
        constraints.write_text(repinned(constraints.read_text("utf-8"), newest), encoding="utf-8")
    else:
        pinned = " ".join(f"{name}=={_plain(version)}" for name, version in newest.items())
        notes.append(f"There is no {constraints}, so nothing pins what was compared: {pinned}")
    title = "Upgrade to " + ", ".join(f"{name} {version}" for name, version in newer.items())
    report = folder / "report.md"
    text = report.read_text("utf-8") if report.is_file() else "No report was written."
    report.write_text("\n\n".join([text.rstrip("\n"), *notes]) + "\n", encoding="utf-8")
    (folder / "title.txt").write_text(title + "\n", encoding="utf-8")
    return _leave_patch(folder)


def authorize() -> int:
    """Whether the comment is an order, and of someone who may write; what exactly it asks for."""
    match = COMMENT.fullmatch(given("GATE_COMMENT"))
    if match is None:
        raise InputError(USAGE)
    actor, number, repository = (
        given("GATE_ACTOR"),
        given("GATE_PULL_REQUEST"),
        given("GITHUB_REPOSITORY"),
    )
    if not _LOGIN.fullmatch(actor) or not number.isdecimal():
        raise InputError("the event names no person or no pull request")
    role = github_api(f"repos/{repository}/collaborators/{actor}/permission")
    if role.get("permission") not in WRITERS:
        raise InputError(f"{actor} may not write to {repository}: nothing is done")
    head = github_api(f"repos/{repository}/pulls/{number}")["head"]
    # Named in the comment: what is run is what its author has seen, whatever was pushed since.
    if not head["sha"].startswith(match["sha"]):
        raise InputError(f"the head of the pull request is {head['sha'][:12]}, not {match['sha']}")
    same = (head.get("repo") or {}).get("full_name") == repository
    output(
        {
            "sha": head["sha"],
            "branch": head["ref"],
            "same-repository": "true" if same else "false",
            "select": "\n".join(match["globs"].split()),
            "accept-worse": "\n".join((match["worse"] or "").split()),
            "reason": match["reason"].strip(),
        }
    )
    return 0


def update() -> int:
    """Run the selected cases and leave their new baselines as a patch."""
    reason = given("GATE_REASON")
    if not reason:
        raise InputError("reason: say why the baselines change")
    words = ["baseline", "update", *specs(), *selection(), *worse(), f"--reason={reason}"]
    code = call_gate([*words, "--in-ci"])
    if code != 0:
        return code
    folder = change_folder()
    (folder / "title.txt").write_text(
        f"Accept new baselines: {' '.join(reason.split())}\n", "utf-8"
    )
    return _leave_patch(folder)


def _leave_patch(folder: Path) -> int:
    allowed = (BASELINES, pins())
    git("add", "--intent-to-add", "--", *[name for name in allowed if Path(name).exists()])
    patch = git("diff", "--binary", "--", *allowed)
    (folder / "change.patch").write_text(patch, encoding="utf-8")
    output({"changed": "true" if patch or (folder / "report.md").is_file() else "false"})
    return 0


# --- writing, with nothing run ------------------------------------------------------------------------


def propose() -> int:
    """Open a pull request with the change, or renew the one that is open."""
    folder, branch = Path(given("GATE_FOLDER")), _branch()
    title = " ".join((folder / "title.txt").read_text("utf-8").split())[:200]
    if not _commit(folder, title):
        print("the change is empty: there is nothing to propose")
        return 0
    _push(f"+HEAD:refs/heads/{branch}")
    body = folder / "body.md"
    body.write_text(fitting_body((folder / "report.md").read_text("utf-8")), encoding="utf-8")
    open_one = run_gh("pr", "list", "--head", branch, "--state", "open", "--json", "number")
    if json.loads(open_one):
        run_gh("pr", "edit", branch, "--title", title, "--body-file", str(body))
    else:
        run_gh("pr", "create", "--head", branch, "--title", title, "--body-file", str(body))
    return 0


def fitting_body(text: str) -> str:
    """The report, cut at a line where it is longer than a pull request's text may be."""
    if len(text) <= MOST_BODY:
        return text
    kept = text[:MOST_BODY].rpartition("\n")[0]
    return (
        f"{kept}\n\n**Cut to fit:** the artifact `gate-change` of the run has the whole report.\n"
    )


def push() -> int:
    """Add the change to the branch of the pull request, unless that has moved on."""
    folder, branch, sha = Path(given("GATE_FOLDER")), _branch(), given("GATE_SHA")
    if git("rev-parse", "HEAD").strip() != sha:
        raise InputError("the branch has moved on since the comment: look at it and comment again")
    title = " ".join((folder / "title.txt").read_text("utf-8").split())[:200]
    if not _commit(folder, title):
        print("no baseline changes")
        return 0
    # Not forced: somebody who pushes in between wins.
    _push(f"HEAD:refs/heads/{branch}")
    return 0


def _commit(folder: Path, title: str) -> bool:
    patch = (folder / "change.patch").resolve()
    if not patch.read_bytes().strip():
        return False
    git("apply", "--index", str(patch))
    check_change(git("diff", "--cached", "--raw", "--no-renames", "-z"))
    author = ["-c", "user.name=quantgate", "-c", "user.email=quantgate@users.noreply.github.com"]
    git(*author, "commit", "--quiet", "-m", title)
    return True


def check_change(raw: str) -> None:
    """Raise InputError unless all of ``git diff --cached --raw --no-renames -z`` may change.

    What is about to be committed is looked at, not what the patch says of itself: that may rename a
    file away, or make a link that stands for a folder.
    """
    records = raw.split("\0")
    for modes, name in zip(records[::2], records[1::2], strict=False):
        path = PurePosixPath(name)
        allowed = name == pins() or name.startswith(BASELINES)
        if not allowed or ".." in path.parts:
            raise InputError(f"the patch changes {name!r}; allowed are {BASELINES} and {pins()}")
        # A plain file, or none any more.
        if modes.split()[1] not in {"100644", "000000"}:
            raise InputError(f"the patch makes {name!r} something that is no plain file")
    if len(records) < 2:
        raise InputError("the patch changes no file")


def _push(refspec: str) -> None:
    token = os.environ.get("GH_TOKEN", "")
    server, repository = os.environ["GITHUB_SERVER_URL"], os.environ["GITHUB_REPOSITORY"]
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    # Through the environment: the command line of a process can be read by others.
    header = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
    }
    remote = os.environ.get("GATE_REMOTE") or f"{server}/{repository}"
    subprocess.run(
        ["git", "push", "--quiet", remote, refspec], check=True, env={**os.environ, **header}
    )


# --- tools ----------------------------------------------------------------------------------------------


def worse() -> list[str]:
    """``--accept-worse`` for each metric that may get worse."""
    return [f"--accept-worse={metric}" for metric in given("GATE_ACCEPT_WORSE").split()]


def pins() -> str:
    """The constraints file that the workflow names: a plain path, and none of GitHub's own files."""
    name = given("GATE_CONSTRAINTS") or "constraints.txt"
    if not _FILE.fullmatch(name) or ".." in name or name != PurePosixPath(name).as_posix():
        raise InputError(f"constraints: '{name}' is no plain path of the repository")
    return name


def newest_versions(packages: Sequence[str]) -> dict[str, str]:
    """Newest released version of each package that fits beside the others, as pip resolves them."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--report", "-", *packages],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = {
        _canonical(item["metadata"]["name"]): item["metadata"]["version"]
        for item in json.loads(done.stdout)["install"]
    }
    return {name: found[_canonical(name)] for name in packages}


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions that are in use now, of those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def repinned(text: str, versions: dict[str, str]) -> str:
    """Constraints with the pins of ``versions`` replaced; other lines stay as they are."""
    wanted = {_canonical(name): version for name, version in versions.items()}

    def line(old: str) -> str:
        name, equals, _ = old.partition("==")
        version = wanted.get(_canonical(name.strip()))
        return f"{name}=={_plain(version)}" if equals and version is not None else old

    return "".join(f"{line(old)}\n" for old in text.splitlines())


def _plain(version: str) -> str:
    """Without the local label (``+cpu``), which other machines do not have."""
    return version.partition("+")[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def change_folder() -> Path:
    """The folder of the change, made."""
    folder = Path(given("GATE_FOLDER") or "gate-change")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _branch() -> str:
    name = given("GATE_BRANCH")
    if not _BRANCH.fullmatch(name) or ".." in name:
        raise InputError(f"branch: '{name}' is none that this writes")
    return name


def git(*words: str) -> str:
    """What git prints; raises CalledProcessError where it fails."""
    done = subprocess.run(["git", *words], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode("utf-8", "surrogateescape")


def run_gh(*words: str) -> str:
    """What GitHub's command line prints."""
    return subprocess.run(["gh", *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def github_api(path: str) -> Any:
    """One resource of the REST interface."""
    return json.loads(run_gh("api", path))


if __name__ == "__main__":
    sys.exit(main())
