"""Lists the games, the sets of games and the baselines, with where their numbers come from."""

from __future__ import annotations

import argparse
import json
from typing import Any

from baselines.registry import BASELINES, BF16, VARIANTS, Description, describe
from results.games import GAMES, Game
from results.hashing import config_hash
from suite import display, flags
from suite.arguments import GAME_SETS
from suite.protocol import Protocol, chosen_protocol, full_config

NAME = "list"
SUMMARY = "games, sets and baselines with their sources"
EXAMPLES = """\
  python -m suite list                 # games and baselines
  python -m suite list games
  python -m suite list baselines       # every pinned value with its source
  python -m suite list --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("games", "baselines"), help="only these (default: both)")
    flags.add_json(parser)


def run(parsed: argparse.Namespace) -> int:
    protocol = chosen_protocol()
    described = [describe(name) for name in (*BASELINES, *VARIANTS)]
    if parsed.json:
        print(json.dumps(_as_data(described, protocol, parsed.what), indent=2))
        return 0
    if parsed.what != "baselines":
        print(_games())
    if parsed.what is None:
        print()
        print(_summary(described, protocol))
        print("\nevery pinned value with its source: python -m suite list baselines")
    if parsed.what == "baselines":
        print(_summary(described, protocol))
        print(f"\nNAME{BF16} is NAME with precision bf16, and nothing else; its runs count as its own")
        for pinned in described[: len(BASELINES)]:
            print(_pinned(f"{pinned.name}: {pinned.title}", pinned.values, pinned.sources, pinned.references))
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
                "config_hash": config_hash(full_config(d, protocol)),
                "values": _sourced(d.values, d.sources),
                "references": dict(d.references),
            }
            for d in described
        ]
        data["protocol"] = {
            "name": protocol.name,
            "values": _sourced(protocol.values, protocol.sources),
            "references": dict(protocol.references),
        }
    return data


def _sourced(values: Any, sources: Any) -> dict[str, Any]:
    return {key: {"value": value, "source": sources[key]} for key, value in values.items()}
