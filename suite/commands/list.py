"""Lists the games, the sets of games and the baselines, with where their numbers come from.

With --baselines: these alone, every value with its source. Code of a user's own is tried out.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from baselines.families import BASELINES, BF16, FAMILIES, FAMILY_TITLES, PINNED_NAMES, family_of
from baselines.registry import Description, describe
from results.games import GAMES, Game
from results.hashing import config_hash
from results.schema import FIRST_PROTOCOL
from suite import arguments, display, flags
from suite.arguments import GAME_SETS
from suite.errors import UserError
from suite.own_code import tell, try_own
from suite.protocol import Protocol, full_config, load_protocol

NAME = "list"
SUMMARY = "games, sets and baselines with their sources"
EXAMPLES = """\
  python -m suite list                 # games and baselines
  python -m suite list games
  python -m suite list baselines       # every pinned value with its source
  python -m suite list baselines --baselines narrow.toml    # one of your own, as it resolves
  python -m suite list baselines --protocol dopamine        # config hashes and values of another protocol
  python -m suite list --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("games", "baselines"), help="only these (default: both)")
    flags.add_baselines(parser, "default: all")
    flags.add_protocol(parser)
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    protocol = load_protocol(arguments.parse_protocol(parsed.protocol))
    chosen = None if parsed.baselines is None else arguments.parse_baselines(parsed.baselines)
    if chosen is not None and parsed.what == "games":
        raise UserError("--baselines goes with baselines, not with games; leave one of the two out")
    if parsed.what == "games" and protocol.name != FIRST_PROTOCOL:
        raise UserError("games are the same under every protocol; leave out --protocol")
    what = "baselines" if chosen else parsed.what
    described = [describe(name) for name in chosen or PINNED_NAMES]
    tried = try_own(chosen or ())
    tell(tried, sys.stderr)
    if parsed.json:
        print(json.dumps(_as_data(described, protocol, what), indent=2))
        return 0
    if what != "baselines":
        print(_games())
    if what is None:
        print()
    if what != "games" and chosen is None:
        print(_summary([d for d in described if d.name in BASELINES], protocol))
        print(f"\nNAME{BF16} is NAME with precision bf16, and nothing else; its runs count as its own\n")
        print(_families(described, protocol))
    if what is None:
        print("\nevery pinned value with its source: python -m suite list baselines")
    if what == "baselines":
        if chosen is not None:
            print(_summary(described, protocol))
            for own in tried:
                print(f"\n{own.name}: {own.facts}")
        for pinned in described:
            if chosen is not None or pinned.name in BASELINES:
                print(_pinned(f"{pinned.name}: {pinned.title}", pinned.values, pinned.sources, pinned.references))
            elif family_of(pinned.name) and not pinned.name.endswith(BF16):
                print(_difference(pinned))
        print(_pinned(f"protocol {protocol.name}", protocol.values, protocol.sources, protocol.references))
    return 0


def _sets(game: Game) -> list[str]:
    return [name for name, games in GAME_SETS.items() if game.name in games]


def _games() -> str:
    return display.table(
        ("game", "envpool id", "random", "human", "sets"),
        [
            (game.name, game.envpool_id, f"{game.random:,.1f}", f"{game.human:,.1f}", ", ".join(_sets(game)))
            for game in GAMES.values()
        ],
    )


def _summary(described: list[Description], protocol: Protocol) -> str:
    return display.table(
        ("baseline", "title", "config hash", "paper"),
        [(d.name, d.title, config_hash(full_config(d, protocol)), d.paper) for d in described],
    )


def _families(described: list[Description], protocol: Protocol) -> str:
    """The families of variants: what each of them is for, and the baselines in it."""
    by_name = {d.name: d for d in described}
    blocks = []
    for family, names in FAMILIES.items():
        rows = [(f"  {n}", by_name[n].title, config_hash(full_config(by_name[n], protocol))) for n in names]
        table = display.table(("  variant", "title", "config hash"), rows)
        blocks.append(f"family {family}: {FAMILY_TITLES[family]}\n{table}")
    return "\n\n".join(blocks)


def _difference(pinned: Description) -> str:
    """What a variant changes of the baseline that it extends."""
    base = describe(pinned.extends or "")
    changed = {key: value for key, value in pinned.values.items() if base.values.get(key) != value}
    rows = [(f"  {key}", json.dumps(value), pinned.sources[key]) for key, value in changed.items()]
    return f"\n{pinned.name}: {pinned.title}; {base.name} but for\n{display.table(('  value', '', 'source'), rows)}"


def _pinned(title: str, values: Any, sources: Any, references: Any) -> str:
    rows = [(f"  {key}", json.dumps(value), sources[key]) for key, value in values.items()]
    named = "\n".join(f"  {name}: {text}" for name, text in references.items())
    return f"\n{title}\n{display.table(('  value', '', 'source'), rows)}\n  --\n{named}"


def _as_data(described: list[Description], protocol: Protocol, what: str | None) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if what != "baselines":
        data["games"] = [
            {
                "name": game.name,
                "envpool_id": game.envpool_id,
                "random": game.random,
                "human": game.human,
                "sets": _sets(game),
            }
            for game in GAMES.values()
        ]
        data["sets"] = {name: list(games) for name, games in GAME_SETS.items()}
    if what != "games":
        data["baselines"] = [
            {
                "name": d.name,
                "title": d.title,
                "algorithm": d.algorithm,
                "paper": d.paper,
                "family": family_of(d.name),
                "extends": d.extends,
                "code": {reference: source.sha256 for reference, source in d.code.items()},
                "config_hash": config_hash(full_config(d, protocol)),
                "values": _sourced(d.values, d.sources),
                "references": dict(d.references),
            }
            for d in described
        ]
        data["protocol"] = {
            "name": protocol.name,
            "title": protocol.title,
            "values": _sourced(protocol.values, protocol.sources),
            "references": dict(protocol.references),
        }
    return data


def _sourced(values: Any, sources: Any) -> dict[str, Any]:
    return {key: {"value": value, "source": sources[key]} for key, value in values.items()}
