"""Makes a student's copy of this repository, in which the functions that a lab is about are blank.

    python -m extras.handout lab2 --out student-copy
    python -m extras.handout lab2 boot.learning_rate --out student-copy     any function, too
    python -m extras.handout lab2 --out student-copy --solutions            puts the bodies back

A blank function keeps its signature and docstring, and raises NotImplementedError. What shows the
outcomes of labs is left out: of PAGES all but the headings, to which links go, README's section
Results, and the files LEFT_OUT. They come back with the solution of the last blank function.
"""

import ast
import shutil
from dataclasses import dataclass
from pathlib import Path

import teachers
from teachers import UserError, opt

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/results.md", "docs/experiments.md", "docs/speed.md", "docs/labs/answers.md",
         "docs/labs/instructor.md")
LEFT_OUT = ("extras/test_extras.py", "findings/piq-fid-of-itself.sh", "assets/boot_collapse.png",
            "assets/dkdm_iterative.png", "assets/dkdm_shuffled.png", "assets/lab_vit.png")
LATER = "This comes with the solutions."
FOLDERS = "assets", "docs", "extras", "findings", "weights"
FILES = "README.md", "LICENSE", "requirements.txt", ".gitignore"  # and all .py: no grades
LABS = {
    "lab1": "boot.boundary_target", "lab2": "boot.signal_ode_step", "lab3": "boot.bootstrap_target",
    "lab4": "dkdm.Pool.advance", "lab5": "dkdm.dkdm_loss", "lab6": "eval_fid.frechet_distance",
    "lab7": "boot.Student.forward", "lab8": "teachers.DiffusionModel.ddim",
}
ORDER = 8, 2, 1, 3, 7, 4, 5, 6  # of labs in one copy: no check needs a later one
FIRST = "first, or ask for its solution"


@dataclass
class Config(teachers.Options):
    """Copies this repository with the functions of labs left blank."""

    names: tuple = opt((), "labs, lab1 to lab8, or functions such as boot.losses", type=str,
                       nargs="+", positional=True)
    out: str = opt("student-copy", "folder of the copy")
    solutions: bool = opt(False, "put the bodies back into the copy, and the answers")


def find(source, name):
    """The ast.FunctionDef of function "f" or "Class.f"; of several, the last, as in Python.

    UserError if there is none.  SyntaxError or ValueError if source is no Python.
    """
    node = ast.parse(source)
    for part in name.split("."):
        node = next((n for n in reversed(node.body)
                     if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None)
        if node is None:
            raise UserError(f"there is no function {name}: name one like boot.losses, or a lab")
    if not isinstance(node, ast.FunctionDef):
        raise UserError(f"{name} is a class: name a function of it, as in boot.Student.forward")
    return node


def body(source, name):
    """The lines after a function's docstring, a slice of source's lines, and their indentation.

    UserError if the body has no lines of its own.
    """
    node = find(source, name)
    first = node.body[0]
    start = first.lineno - 1 if ast.get_docstring(node) is None else first.end_lineno
    if source.splitlines()[first.lineno - 1][:first.col_offset].strip():
        raise UserError(f"the body of {name} stands behind its def: put it on a line of its own")
    return slice(start, node.end_lineno), first.col_offset


def without_outcomes(text):
    """A page's headings; of one that has a section Results, all but that section."""
    before, heading, rest = text.partition("## Results\n")
    if heading:
        return f"{before}{heading}\n{LATER}\n" + rest[rest.index("\n## "):]
    title, *others = [line for line in text.splitlines() if line.startswith("#")]
    return "\n\n".join([title, LATER, *others]) + "\n"


def make(config):
    """Makes the copy, or puts solutions into it. UserError for an unknown name or folder."""
    out = Path(config.out)
    if out.exists() != config.solutions:
        raise UserError(f"{out} does not exist: make the copy first" if config.solutions else
                        f"{out} exists: choose another --out, or add --solutions")
    if any(out.resolve().is_relative_to(ROOT / folder) for folder in FOLDERS):
        raise UserError(f"{out} is in a folder that is copied: choose another --out")
    changed = {}
    for given in config.names:
        module, _, name = LABS.get(given, given).partition(".")
        file, complete = f"{module}.py", ROOT / f"{module}.py"
        if not complete.is_file():
            raise UserError(f"{given} is no lab and no function: the labs are {', '.join(LABS)}")
        solution = complete.read_text()
        lines = solution.splitlines(keepends=True)
        rows, indent = body(solution, name)
        called = f"lab {given[3:]}" if given in LABS else given
        new = lines[rows] if config.solutions else [
            f'{" " * indent}raise NotImplementedError("write {called} {FIRST}")\n']
        theirs = (out if config.solutions else ROOT) / file
        source = changed.get(file) or theirs.read_text("utf-8-sig")  # Notepad's mark left out
        lines = source.splitlines(keepends=True)
        try:
            lines[body(source, name)[0]] = new
        except UserError:
            raise
        except (SyntaxError, ValueError) as error:
            raise UserError(f"{theirs} is no Python ({teachers.one_line(error)}): mend it, or make "
                            "a new copy") from None
        changed[file] = "".join(lines)

    try:
        if not config.solutions:
            out.mkdir(parents=True)
            for path in ROOT.iterdir():
                if path.is_dir() and path.name in FOLDERS:
                    shutil.copytree(path, out / path.name,
                                    ignore=shutil.ignore_patterns("__pycache__"))
                elif path.suffix == ".py" or path.name in FILES:
                    shutil.copy(path, out)
            for page in ("README.md", *PAGES):
                (out / page).write_text(without_outcomes((ROOT / page).read_text()))
            for file in LEFT_OUT:
                (out / file).unlink()
        for file, source in changed.items():
            (out / file).write_text(source)
        if not any(FIRST in path.read_text() for path in out.glob("*.py")):
            for file in ("README.md", *PAGES, *LEFT_OUT):
                shutil.copy(ROOT / file, out / file)
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
    labs = [f"lab{k}" for k in ORDER if f"lab{k}" in config.names]
    print(f"Made {config.out}" + f"; check it there: python -m pytest -xq test_core.py -k "
          f'"{" or ".join(labs)}"' * bool(labs))
    if len(labs) > 1:
        print("Some of these labs need others. Make a copy for each lab, or write them in the "
              f"order {', '.join(labs)}.\nA run of boot.py needs labs 1, 2, 3, 7 and 8, and one of "
              "dkdm.py needs 4, 5 and 8.")


if __name__ == "__main__":
    teachers.run_script(main)
