"""Reads claims: the built-in ones from `claims.toml`, a user's own from a file of theirs."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reports.errors import ReportsError
from reports.judging.claims import FAMILIES, Claim
from reports.judging.kinds import KINDS
from results.games import GAME_SETS, GAMES
from results.schema import parse_frames_directory

BUILT_IN = Path(__file__).parents[1] / "claims.toml"
DEVICES = ("cpu", "gpu")  # what a cost may be asked for apart
_ALWAYS = ("id", "kind", "title", "statement", "source", "baseline", "games", "measure")


def load_claims(claims_file: Path | None = None, *, with_built_in: bool = True) -> tuple[Claim, ...]:
    """The built-in claims and those of `claims_file` after them; without the built-in ones, those alone.

    Raises:
        ReportsError: naming the file, the claim and the key; or the file's line where it is no TOML.
    """
    claims = _read(BUILT_IN, is_built_in=True) if with_built_in else ()
    if claims_file is not None:
        claims += _read(claims_file, is_built_in=False)
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise ReportsError(f"{claims_file or BUILT_IN}: claim {claim.id!r} is there twice; give yours another id")
        seen.add(claim.id)
    return claims


def find_claim(claims: tuple[Claim, ...], claim_id: str) -> Claim:
    """Raises ReportsError, with the nearest names, for an unknown id."""
    for claim in claims:
        if claim.id == claim_id:
            return claim
    ids = [claim.id for claim in claims] or ["none"]
    near = difflib.get_close_matches(claim_id, ids)
    hint = f" (nearest: {', '.join(near)})" if near else ""
    raise ReportsError(f"unknown claim {claim_id!r}{hint}; there are {', '.join(ids)}")


def _read(path: Path, *, is_built_in: bool) -> tuple[Claim, ...]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportsError(f"cannot read claims file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReportsError(f"claims file {path} is no text in UTF-8") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a plain ValueError
        raise ReportsError(f"claims file {path} is no TOML: {error}") from error
    tables = document.pop("claim", None)
    if document or not isinstance(tables, list) or not tables:
        raise ReportsError(f"{path}: claims are written as [[claim]] tables, at least one, and nothing else")
    return tuple(_claim(table, f"{path}: claim {number}", is_built_in) for number, table in enumerate(tables, start=1))


def _claim(table: Any, where: str, is_built_in: bool) -> Claim:
    if not isinstance(table, dict):
        raise ReportsError(f"{where} is no table")
    if isinstance(table.get("id"), str):
        where += f" ({table['id']})"
    name = table.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ReportsError(f"{where}: kind is {name!r} (allowed: {', '.join(KINDS)})")
    needed = {*_ALWAYS, *kind.needs}
    optional = {"family", *kind.options}
    for problem, keys in (
        ("missing", needed - table.keys()),
        ("unknown", table.keys() - needed - optional),
    ):
        if keys:
            raise ReportsError(
                f"{where}: {problem} {', '.join(sorted(keys))} (a {kind.name} has {', '.join(sorted(needed))})"
            )
    values = {key: _READERS[key](table[key], f"{where}: {key}") for key in table}
    if values["measure"] not in kind.measures:
        raise ReportsError(
            f"{where}: measure is {values['measure']!r} (a {kind.name} takes {', '.join(kind.measures)})"
        )
    if (values["games"] == ()) != kind.is_timed:
        timed = " or ".join(f"a {other.name}" for other in KINDS.values() if other.is_timed)
        raise ReportsError(f'{where}: games must be a set or a list of names, and "any" for {timed}')
    if kind.is_timed:
        values |= {"games": values.pop("try_games"), "frames": values.pop("try_frames")}
    if values.get("at_frames", 0) > values["frames"]:
        raise ReportsError(f"{where}: at_frames lies beyond the run's frames")
    _refuse_unfit_sides(values, where)
    return Claim(**{**values, "kind": kind}, is_built_in=is_built_in)


def _refuse_unfit_sides(values: Mapping[str, Any], where: str) -> None:
    """Raises ReportsError for baselines that leave nothing to compare, which would show once their runs are there."""
    baseline, without = values["baseline"], values.get("without")
    if values.get("reference") == baseline:
        raise ReportsError(f"{where}: reference is {baseline!r}, the baseline itself; name another one")
    if without is None:
        return
    if baseline in without:
        raise ReportsError(f"{where}: without names {baseline!r}, the baseline itself; leave it out of the list")
    if len(without) < 2:
        raise ReportsError(f"{where}: without names {without[0]!r} alone, and an order needs two; add another one")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ReportsError(f"{where} must be a text, is {value!r}")
    return " ".join(value.split())


def _identifier(value: Any, where: str) -> str:
    text = _text(value, where)
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]*", text) is None:
        raise ReportsError(f"{where} must be lower-case letters, digits, dots and hyphens, is {value!r}")
    return text


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000:
        raise ReportsError(f"{where} must be a number above 0 (a gain of 80 % is 0.8), is {value!r}")
    return float(value)


def _frames(value: Any, where: str) -> int:
    try:
        return parse_frames_directory(_text(value, where))
    except ValueError as error:
        raise ReportsError(f"{where} must be a budget such as '40M' or '200k': {error}") from error


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ReportsError(f"{where} must be a list of names, is {value!r}")
    names = tuple(_text(item, where) for item in value)
    if len(set(names)) < len(names):
        raise ReportsError(f"{where} names something twice: {', '.join(names)}")
    return names


def _family(value: Any, where: str) -> str:
    if value not in FAMILIES:
        raise ReportsError(f"{where} is {value!r} (allowed: {', '.join(FAMILIES)})")
    return str(value)


def _device(value: Any, where: str) -> str:
    if value not in DEVICES:
        raise ReportsError(f"{where} is {value!r} (allowed: {', '.join(DEVICES)})")
    return str(value)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ReportsError(f"{where} must be a whole number above 0, is {value!r}")
    return value


def _games(value: Any, where: str) -> tuple[str, ...]:
    if value == "any":
        return ()
    if isinstance(value, str):
        if value not in GAME_SETS:
            raise ReportsError(f"{where} is {value!r} (allowed: {', '.join(GAME_SETS)}, a list of games, or any)")
        return GAME_SETS[value]
    names = _names(value, where)
    for name in names:
        if name not in GAMES:
            near = difflib.get_close_matches(name, GAMES, n=2, cutoff=0.4)
            raise ReportsError(
                f"{where} has the unknown game {name!r}" + (f" (nearest: {', '.join(near)})" if near else "")
            )
    return names


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("kind", "title", "statement", "source", "measure"), _text),
    **dict.fromkeys(("id", "baseline", "reference"), _identifier),
    "family": _family,
    "on": _device,
    "observations": _count,
    **dict.fromkeys(("claimed", "tolerance", "least"), _number),
    **dict.fromkeys(("frames", "at_frames", "try_frames"), _frames),
    **dict.fromkeys(("layers", "without"), _names),
    **dict.fromkeys(("games", "try_games"), _games),
}
