"""What users type on the command line, turned into values or refused with one line that says what is allowed."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from baselines.families import BASELINES, BF16, FAMILIES, PINNED_NAMES
from baselines.registry import add_own
from results.games import GAME_SETS as ATARI_SETS
from results.games import find_game
from suite.errors import UserError
from suite.protocol import PROTOCOLS

Item = TypeVar("Item")

# Of the paper's discussion: games in which exploration is what fails, and games that ask for precise positions.
EXPLORATION = ("MontezumaRevenge", "Pitfall", "PrivateEye", "Venture")
SPATIAL = ("Amidar", "Hero")
GAME_SETS = {**ATARI_SETS, "exploration": EXPLORATION, "spatial": SPATIAL}
ALL_PROTOCOLS = "all"
MAX_FRAMES = 10**12
MAX_SEED = 2**31 - 1
MAX_SEED_COUNT = 1000
MAX_JOBS = 1024
MAX_RESTARTS = 100
MAX_GROUPS = 8
MAX_MINUTES = 10_000
MAX_NAME_BYTES = 200  # 255 on every usual disk, less what a temporary name adds
MAX_PATH_BYTES = 3000  # 4096, less what a run's place adds

_FRAMES = re.compile(r"(?P<number>[0-9]+(_[0-9]{3})*(\.[0-9]+)?)(?:(?P<unit>[kM])|[eE]\+?(?P<power>[0-9]{1,2}))?")
_UNITS = {"k": 1_000, "M": 1_000_000}


def parse_frames(text: str) -> int:
    """A budget of emulator frames: '200k', '40M', '2.5M', '1e6', '40_000_000' or '16384'."""
    match = _FRAMES.fullmatch(text.strip())
    if match is None:
        raise UserError(f"--frames {text!r} is no number of frames; write 200k, 40M, 1e6 or 40_000_000")
    number = Decimal(match["number"].replace("_", ""))
    frames = number * (_UNITS[match["unit"]] if match["unit"] else 10 ** int(match["power"] or 0))
    if frames != int(frames):
        raise UserError(f"--frames {text!r} is {frames.normalize():f} frames; give a whole number, such as 200k or 40M")
    if not 0 < frames <= MAX_FRAMES:
        raise UserError(f"--frames {text!r} is out of range; give from 1 to {MAX_FRAMES // 10**6}M emulator frames")
    return int(frames)


def parse_games(text: str) -> tuple[str, ...]:
    """Names as in the game table, from sets and names in any usual spelling, in the order given, each once.

    Raises ResultsError, naming the nearest games, for one that there is not.
    """
    names: list[str] = []
    for item in _items(text, "--games", "atari10, or names such as pong,breakout"):
        lowered = item.lower()
        names += GAME_SETS[lowered] if lowered in GAME_SETS else [_game(item)]
    return _once(names)


def parse_baselines(text: str) -> tuple[str, ...]:
    """Names of baselines, in the order given, each once; of a family, all of it; of a user's TOML, the one it has.

    A TOML is read, and its code found; nothing of it is executed.
    """
    names: list[str] = []
    for item in _items(text, "--baselines", ",".join(BASELINES)):
        lowered = item.lower()
        if lowered.endswith(".toml"):
            names.append(_own(Path(item)))
        elif lowered in FAMILIES:
            names += FAMILIES[lowered]
        elif lowered in PINNED_NAMES:
            names.append(lowered)
        else:
            nearest = difflib.get_close_matches(lowered, (*PINNED_NAMES, *FAMILIES), n=1)
            hint = f" (nearest: {nearest[0]})" if nearest else ""
            raise UserError(
                f"unknown baseline {item!r}{hint}; allowed: {', '.join(BASELINES)}, or NAME{BF16}, a family "
                f"({', '.join(FAMILIES)}), or a file of your own, FILE.toml"
            )
    return _once(names)


def parse_seeds(text: str) -> tuple[int, ...]:
    """'3' is 0, 1, 2; '0,4' is those two; '4,' is that one."""
    if "," not in text:
        count = _whole(text, "--seeds")
        if not 0 < count <= MAX_SEED_COUNT:
            raise UserError(
                f"--seeds {text.strip()} is {'no' if count == 0 else 'too large a'} count; "
                f"give a count from 1 to {MAX_SEED_COUNT}, or a list such as 0,4 (one seed alone: '4,')"
            )
        return tuple(range(count))
    seeds = [_whole(item, "--seeds") for item in _items(text.strip().removesuffix(","), "--seeds", "3, or a list 0,4")]
    for seed in seeds:
        if seed > MAX_SEED:
            raise UserError(f"--seeds: {seed} is too large; a seed goes from 0 to {MAX_SEED}")
    return _once(seeds)


def parse_seed_count(text: str) -> int:
    """How many seeds of every game and side; seeds by number are refused."""
    if "," in text:
        raise UserError(f"--claim says which seeds; give a count of them, such as --seeds 10, not {text.strip()!r}")
    return len(parse_seeds(text))


def parse_jobs(text: str) -> int:
    """How many runs at once."""
    return parse_count(text, "--jobs", MAX_JOBS)


def parse_threads(text: str) -> int:
    """How many CPU threads a run computes with."""
    return parse_count(text, "--threads", MAX_JOBS)


def parse_groups(text: str, devices: Sequence[str]) -> int:
    """How many groups PQN's environments step in; on a GPU alone."""
    groups = parse_count(text, "--groups", MAX_GROUPS)
    if not devices[0].startswith("cuda"):
        raise UserError(
            "--groups goes with a GPU: on a CPU nothing overlaps, and another number of images at a time rounds "
            "differently; leave it out"
        )
    return groups


def parse_restarts(text: str) -> int:
    """How often a run may be started again; 0 for never."""
    return 0 if text.strip() == "0" else parse_count(text, "--restarts", MAX_RESTARTS, least="0, or ")


def parse_minutes(text: str) -> int:
    """How long a run may be silent."""
    return parse_count(text, "--hang-minutes", MAX_MINUTES)


def parse_count(text: str, flag: str, most: int, *, least: str = "") -> int:
    """A whole number from 1 to `most`. `least`: what else the flag takes, for the message."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not 0 < int(text) <= most:
        raise UserError(f"{flag} {text!r} is not allowed; give {least}a whole number from 1 to {most}")
    return int(text)


def parse_device_name(text: str) -> str:
    """'auto', 'cpu', 'cuda' or 'cuda:N', whether there is such a device or not."""
    wanted = text.strip().lower()
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", wanted) is None:
        raise UserError(f"unknown device {text!r}; allowed: auto, cpu, cuda, cuda:N")
    return wanted


def parse_device(text: str) -> tuple[str, ...]:
    """Devices that jobs are dealt out over, as torch names them.

    'cpu'; 'cuda' for every GPU of the machine; 'cuda:1' for that one; 'auto' for 'cuda' where there is one, else 'cpu'.
    """
    wanted = parse_device_name(text)
    match = re.fullmatch(r"cuda:([0-9]{1,3})", wanted)
    if wanted == "cpu":
        return ("cpu",)
    import torch  # seconds; a CPU run's arguments need none of it

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if match is not None and int(match[1]) >= count > 0:
        raise UserError(f"--device {wanted}: this machine has {count} CUDA device(s), cuda:0 to cuda:{count - 1}")
    if count == 0:
        if wanted == "auto":
            return ("cpu",)
        why = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise UserError(f"--device {wanted}: {why}; use --device cpu, or see: python -m suite doctor")
    return (wanted,) if match else tuple(f"cuda:{i}" for i in range(count))


def parse_path(text: str) -> Path:
    """A path that the system can look up, whether there is anything or not; as `type=` of an argument."""
    if not text.strip():
        raise argparse.ArgumentTypeError("an empty path; write . for the folder you are in")
    data = os.fsencode(text)
    longest = max(map(len, data.split(b"/")))
    if longest > MAX_NAME_BYTES or len(data) > MAX_PATH_BYTES:
        raise argparse.ArgumentTypeError(
            f"a path too long ({len(data)} bytes, {longest} in one name); "
            f"at most {MAX_PATH_BYTES}, {MAX_NAME_BYTES} in one name"
        )
    return Path(text)


def results_folder(path: Path, flag: str = "--results") -> Path:
    """`path` if runs can be read from it, whether it exists yet or not. Raises UserError if they cannot."""
    for ancestor in (path, *path.absolute().parents):
        if ancestor.is_dir():
            break
        if ancestor.exists() or ancestor.is_symlink():
            raise UserError(f"{flag} {path}: {ancestor} is not a folder; give another one")
    return path


def writable_folder(path: Path, flag: str = "--results") -> Path:
    """`path`, created if need be, after a file of a new name was opened in it and taken away again."""
    results_folder(path, flag)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, prefix=".probe-"):  # two commands may look at once
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written ({error.strerror}); give another folder") from error
    return path


def refuse_unwritable(file: Path, *, force: bool) -> None:
    """Raises UserError for a file that is there, unless `force`d, or whose folder is not."""
    if file.is_dir() or (file.exists() and not force):
        raise UserError(f"{file} exists already; choose another name, or add --force")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file.parent} is no folder; make it first")


def parse_protocol(text: str, *, or_all: bool = False) -> str:
    """The name of a protocol. `or_all`: the message says that 'all' may be asked for (`means_all_protocols`)."""
    wanted = text.strip().lower()
    if wanted not in PROTOCOLS:
        allowed = [*PROTOCOLS, ALL_PROTOCOLS] if or_all else PROTOCOLS
        raise UserError(f"unknown protocol {text!r}; allowed: {', '.join(allowed)}")
    return wanted


def means_all_protocols(text: str) -> bool:
    return text.strip().lower() == ALL_PROTOCOLS


def _own(file: Path) -> str:
    """The name of the baseline in a user's TOML."""
    if not file.is_file():
        raise UserError(f"there is no file {file}; write a baseline of your own with: python -m suite new encoder NAME")
    name = add_own(file)
    if name in PROTOCOLS:
        raise UserError(f"{file}: {name} is the name of a protocol, whose runs have that folder; give it another name")
    return name


def _game(item: str) -> str:
    if item.lower().startswith("atari"):  # no game does
        raise UserError(f"unknown set of games {item!r}; allowed: {', '.join(GAME_SETS)}, or names of games")
    return find_game(item).name


def _items(text: str, flag: str, example: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise UserError(f"{flag} {text!r} has an empty name in its list; give {example}")
    return items


def _whole(text: str, flag: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text.strip()):
        raise UserError(f"{flag} {text.strip()!r} is no count and no list of seeds; write 3 (for 0,1,2) or 0,4")
    return int(text)


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))
