"""Grades a lab: puts each submission's function into a clean copy and runs the lab's checks there.

    python -m extras.grade lab2 submissions/*/ --out grades.csv

A submission is a folder with the lab's file, such as boot.py. Only the body of the lab's function
is taken from it, so changed tests, other files and decorators do not count, and helpers must be
inside it. Each check that passes is a point. A submission that is not whole, or whose checks do not
end, is a row with 0 points and the reason.

This runs students' code with your rights: use a container without network or files that matter.
"""

import ast
import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import teachers
from extras.handout import LABS, ROOT, body, find
from teachers import UserError, one_line, opt


@dataclass
class Config(teachers.Options):
    """Runs a lab's checks on each submission's function. This runs students' code."""

    lab: str = opt("", "lab1 to lab8", positional=True, choices=tuple(LABS))
    submissions: tuple = opt((), "their folders", type=str, nargs="+", positional=True)
    out: str = opt("grades.csv", "a new file, a line each")
    seconds: float = opt(120.0, "limit for a submission", 0.1, 1e5)


def submitted(lab, folder):
    """The lab's file, as text, in which its function has the body it has in folder.

    Raises OSError, SyntaxError or ValueError if there is none.
    """
    module, _, name = LABS[lab].partition(".")
    clean = Path(ROOT, f"{module}.py").read_text("utf-8")
    lines, (rows, indent) = clean.split("\n"), body(clean, name)
    # As bytes: Python finds out how they are encoded. Unparsed: a body may stand behind its def.
    theirs = find(Path(folder, f"{module}.py").read_bytes(), name)
    code = "\n".join(map(ast.unparse, theirs.body[ast.get_docstring(theirs) is not None:]))
    lines[rows] = [textwrap.indent(code or "pass", " " * indent)]
    compile("\n".join(lines), f"{module}.py", "exec")
    return "\n".join(lines)


def run_checks(lab, text, seconds):
    """With text as the lab's file: points, number of checks, what the first failed one says.

    Raises RuntimeError if the checks do not come to their end.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as copy:
        Path(copy, "weights").mkdir()
        for file in (*(path.name for path in ROOT.glob("*.py")), "weights/named.json"):
            shutil.copy(ROOT / file, Path(copy, file))
        Path(copy, LABS[lab].partition(".")[0] + ".py").write_text(text, "utf-8")
        none = subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-s", "test_core.py", "-k", f"test_{lab}_",
             "--junitxml=checks.xml"], cwd=copy, start_new_session=True, stdin=none, stdout=none,
            stderr=none)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done in {seconds:g} seconds") from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # and all that it started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # 2: interrupted, which leaves the check that was running among those that passed
        if process.returncode not in (0, 1) or not Path(copy, "checks.xml").is_file():
            raise RuntimeError("the process ended before its checks did")
        checks = list(ET.parse(Path(copy, "checks.xml")).iter("testcase"))
    failed = [check[0].get("message", "") for check in checks if len(check)]  # or skipped
    return len(checks) - len(failed), len(checks), one_line("".join(failed[:1]).split("\n")[0])


def main():
    config = Config.parse()
    if Path(config.out).exists():
        raise UserError(f"{config.out} exists: choose another --out")
    try:
        points, checks, says = run_checks(config.lab, submitted(config.lab, ROOT), config.seconds)
    except RuntimeError as error:
        points, checks, says = 0, 0, error
    if not 0 < points == checks:
        raise UserError(f"{config.lab} fails its own checks here ({says}): grade in a complete "
                        "repository, and give enough --seconds")
    with open(config.out, "x", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["submission", "points", "checks", "says"])
        for folder in config.submissions:
            try:
                points, _, says = run_checks(config.lab, submitted(config.lab, folder),
                                             config.seconds)
            except Exception as error:  # whatever is in it, a submission is a row
                points, says = 0, f"{type(error).__name__}: {one_line(error)}"
            csv.writer(file).writerow([folder, points, checks, says])
            file.flush()
            print(f"{folder}: {points} of {checks}  {says}", flush=True)


if __name__ == "__main__":
    teachers.run_script(main)
