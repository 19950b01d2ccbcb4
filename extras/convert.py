"""The body of python teachers.py convert: what is not yet a checkpoint of this project becomes one.

    python teachers.py convert downloaded.pt --arch iddpm-cifar10 --out teacher.pt
    python teachers.py convert mine.pt --arch mine.json --out teacher.pt
    python teachers.py convert diffusers:google/ddpm-cifar10-32 --out ddpm.pt

docs/teachers.md says what mine.json holds; pipelines are read by extras/diffusers_teacher.py.
"""

import json
from pathlib import Path

import teachers
from teachers import DESCRIPTION, NAMED, UserError


def convert(config):
    """Writes config.source as a checkpoint with weights in half precision to config.out."""
    out, about = Path(config.out), describe(config.arch) if config.arch else None
    if out.exists() or not out.parent.is_dir():
        raise UserError(f"--out {out}: give a new file, in a folder that exists")
    if config.null_class and not config.source.startswith("diffusers:"):
        raise UserError("--null-class is for pipelines: of bare weights, the outer num_classes of "
                        "--arch says whether the label table has one row more")
    if config.source.startswith("diffusers:") or config.prompts:
        from extras import diffusers_teacher
        content = diffusers_teacher.convert(config.source, config.prompts, config.null_class)
        model = teachers.build(content, config.source)  # refuses what does not fit
    else:
        model, content = teachers.load(config.source, about=about)
    content = model.checkpoint(content["method"], content["config"])
    content["weights"] = {name: w.half() for name, w in content["weights"].items()}
    teachers.save(out, content)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def describe(arch):
    """What bare weights are, by the name of a public model or a JSON file. UserError."""
    try:
        about = NAMED[arch][-1] if arch in NAMED else json.loads(Path(arch).read_text())
        return {key: about[key] for key in DESCRIPTION}
    except (OSError, ValueError, TypeError, KeyError):
        raise UserError(f"--arch {arch}: give a public model of teachers.py list, or a JSON file "
                        f"with the keys {', '.join(sorted(DESCRIPTION))}") from None
