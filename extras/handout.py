"""Makes a student's copy of this repository, in which the functions that a lab is about are blank.

    python -m extras.handout lab2 --out student-copy
    python -m extras.handout lab2 boot.learning_rate --out student-copy     any function, too
    python -m extras.handout lab2 --out student-copy --solutions            puts the bodies back

A blank function keeps its signature and docstring, and raises NotImplementedError. The answers in
docs/labs/answers.md come with the solutions.
"""

import ast
import shutil
from dataclasses import dataclass
from pathlib import Path

import teachers
from teachers import UserError, opt

ROOT = Path(__file__).resolve().parents[1]
ANSWERS = Path("docs/labs/answers.md")
FOLDERS = "assets", "docs", "extras", "findings", "weights"
LABS = {
    "lab1": "boot.boundary_target", "lab2": "boot.signal_ode_step", "lab3": "boot.bootstrap_target",
    "lab4": "dkdm.Pool.advance", "lab5": "dkdm.dkdm_loss", "lab6": "eval_fid.frechet_distance",
    "lab7": "boot.Student.forward", "lab8": "teachers.DiffusionModel.ddim",
}


@dataclass
class Config(teachers.Options):
    """Copies this repository with the functions of labs left blank."""

    names: tuple = opt((), "labs, lab1 to lab8, or functions such as boot.losses", type=str,
                       nargs="+", positional=True)
    out: str = opt("student-copy", "folder of the copy")
    solutions: bool = opt(False, "put the bodies back into the copy, and the answers")


def body(source, name):
    """The lines after a function's docstring, a slice of source's lines, and their indentation.

    name: "f" or "Class.f".  UserError if there is none.
    """
    node = ast.parse(source)
    for part in name.split("."):
        node = next((n for n in node.body if isinstance(n, ast.FunctionDef | ast.ClassDef)
                     and n.name == part), None)
        if node is None:
            raise UserError(f"there is no function {name}: name one like boot.losses, or a lab")
    if not isinstance(node, ast.FunctionDef):
        raise UserError(f"{name} is a class: name a function of it, like {name}.forward")
    first = node.body[0]
    start = first.lineno - 1 if ast.get_docstring(node) is None else first.end_lineno
    return slice(start, node.end_lineno), first.col_offset


def make(config):
    """Makes the copy, or puts the solutions into it. UserError for an unknown name or folder."""
    out = Path(config.out)
    if out.exists() != config.solutions:
        raise UserError(f"{out} does not exist: make the copy first" if config.solutions else
                        f"{out} exists: choose another --out, or add --solutions")
    changed = {}
    for given in config.names:
        module, _, name = LABS.get(given, given).partition(".")
        file, complete = f"{module}.py", ROOT / f"{module}.py"
        if not complete.is_file():
            raise UserError(f"{given} is no lab and no function: the labs are {', '.join(LABS)}")
        solution = complete.read_text()
        lines = solution.splitlines(keepends=True)
        rows, indent = body(solution, name)
        message = f"lab {given[3:]}" if given in LABS else given
        new = lines[rows] if config.solutions else [
            f'{" " * indent}raise NotImplementedError("{message}")\n']
        source = changed.get(file) or ((out if config.solutions else ROOT) / file).read_text()
        lines = source.splitlines(keepends=True)
        lines[body(source, name)[0]] = new
        changed[file] = "".join(lines)

    try:
        if config.solutions:
            shutil.copy(ROOT / ANSWERS, out / ANSWERS)
        else:
            out.mkdir(parents=True)
            for path in ROOT.iterdir():
                if path.is_dir() and path.name in FOLDERS:
                    shutil.copytree(path, out / path.name,
                                    ignore=shutil.ignore_patterns("__pycache__"))
                elif path.is_file() and not path.name.startswith("."):
                    shutil.copy(path, out)
            (out / ANSWERS).write_text("# Answers\n\nThey come with the solutions.\n")
        for file, source in changed.items():
            (out / file).write_text(source)
    except OSError as error:
        if not config.solutions:
            shutil.rmtree(out, ignore_errors=True)  # else the next try would meet half a copy
        raise UserError(f"{out} cannot be written ({teachers.one_line(error)}): make room, or "
                        "choose another --out") from None


def main():
    config = Config.parse()
    make(config)
    if config.solutions:
        return print(f"Put the solutions into {config.out}")
    checks = " or ".join(name for name in config.names if name in LABS)
    print(f"Made {config.out}" + f'; check it there: python -m pytest -q test_core.py -k "{checks}"'
          * bool(checks))


if __name__ == "__main__":
    teachers.run_script(main)
