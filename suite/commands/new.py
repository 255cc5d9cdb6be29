"""Writes an encoder of your own, ready to run: its code, the baseline that uses it, and a test that takes seconds.

Three files in the folder you are in: NAME.toml, NAME.py and test_NAME.py. None is written over.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import keyword
import re
import shlex
import sys
from importlib import resources
from pathlib import Path

from baselines.families import PINNED_NAMES
from baselines.own import LONGEST_NAME
from baselines.own import NAME as BASELINE_NAME
from suite import arguments, flags
from suite.arguments import parse_path
from suite.errors import UserError
from suite.protocol import PROTOCOLS

NAME = "new"
SUMMARY = "write an encoder of your own, ready to run"
EXAMPLES = """\
  python -m suite new encoder narrow
  python -m suite new encoder narrow --extends hadamax-pqn --folder ideas
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("encoder",), help="what to write")
    parser.add_argument("name", metavar="NAME", help="of the baseline: lower-case letters, digits and '-'")
    parser.add_argument("--extends", default="pqn", metavar="BASELINE", help="what it differs from (default: pqn)")
    parser.add_argument("--folder", type=parse_path, default=Path(), metavar="DIR", help="where to (default: here)")
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    name = _checked_name(parsed.name)
    if parsed.extends.lower() not in PINNED_NAMES:
        raise UserError(f"--extends {parsed.extends!r} is no baseline of the suite's; see: python -m suite list")
    folder = arguments.writable_folder(parsed.folder, "--folder")
    module = _checked_module(name, folder)
    words = {
        "NAME": name,
        "TITLE": re.sub(r"[._-]+", " ", name).title(),
        "EXTENDS": parsed.extends.lower(),
        "FILE": f"{module}.py",
        "CLASS": _class_name(name),
        "TEST": f"test_{module}.py",
    }
    written = {
        folder / f"{name}.toml": _filled("baseline.toml.txt", words),
        folder / f"{module}.py": _filled("encoder.py.txt", words),
        folder / f"test_{module}.py": _filled("test_encoder.py.txt", words),
    }
    for path in written:
        if path.exists():
            raise UserError(f"{path} exists already; choose another name or --folder")
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    toml, _, test = map(str, written)
    if parsed.json:
        print(json.dumps({"name": name, "extends": words["EXTENDS"], "files": list(map(str, written))}, indent=2))
        return 0
    own = f"{words['EXTENDS']},{shlex.quote(toml)}"
    print("\n".join(f"wrote {path}" for path in written))
    print("\ncheck it, see what it needs, train it, compare it:")
    print(f"  python -m pytest {shlex.quote(test)}")
    print(f"  python -m suite run --games breakout --frames 200k --baselines {own} --seeds 1 --dry-run")
    print(f"  python -m suite run --games breakout --frames 200k --baselines {own} --seeds 1")
    print("  python -m suite report")
    return 0


def _checked_name(name: str) -> str:
    """A name that a baseline can have, and whose class Python can. Raises UserError."""
    start = name[:1].isalpha() and not keyword.iskeyword(name) and not keyword.iskeyword(_class_name(name))
    if BASELINE_NAME.fullmatch(name) is None or not start or len(name) > LONGEST_NAME or name.startswith("test_"):
        raise UserError(
            f"{name!r} can name no encoder; use lower-case letters, digits, '.', '_' and '-', a letter first, "
            f"at most {LONGEST_NAME}, no word of Python's"
        )
    if name in PROTOCOLS:
        raise UserError(f"{name} is the name of a protocol, whose runs have that folder; choose another name")
    if name in PINNED_NAMES:
        raise UserError(f"{name} is a baseline of the suite's own; choose another name")
    return name


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[._-]+", name))


def _checked_module(name: str, folder: Path) -> str:
    """The name of the encoder's module. Raises UserError for one that would stand in another module's place.

    Python looks for modules in the folder that it is started in first, so whatever imports the other one would break.
    """
    module = re.sub(r"[.-]", "_", name)
    if module == "conftest":
        raise UserError(f"{module}.py is a file that pytest reads; choose another name")
    if module in sys.stdlib_module_names:
        raise UserError(
            f"{module} is a module of Python's own, and {module}.py would be taken for it; choose another name"
        )
    spec = importlib.util.find_spec(module)
    place = Path(spec.origin).parent.resolve() if spec is not None and spec.origin is not None else None
    # A folder without __init__.py hides nothing (no origin). A file of that name in one of these two folders is the
    # user's own; where it is in the way, it is not written over.
    if spec is not None and place is not None and place not in (Path().resolve(), folder.resolve()):
        raise UserError(
            f"{module} can be imported already ({spec.origin}), and one would be taken for the other; "
            "choose another name"
        )
    return module


def _filled(template: str, words: dict[str, str]) -> str:
    text = resources.files("suite").joinpath("templates", template).read_text(encoding="utf-8")
    return re.sub(r"\b(" + "|".join(words) + r")\b", lambda match: words[match[0]], text)
