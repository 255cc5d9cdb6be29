"""Flags that several subcommands share, and what they mean once parsed."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from baselines.registry import BASELINES, BF16, describe
from results.schema import FIRST_PROTOCOL, RunSpec, format_frames, format_seeds
from suite import arguments, display
from suite.arguments import parse_path
from suite.errors import UserError
from suite.plan import plan_runs
from suite.protocol import DEFAULT_SEEDS, PROTOCOLS

Flags = argparse.ArgumentParser | argparse._ArgumentGroup
DEFAULT_RESULTS = Path("results/runs")


def add_results(parser: Flags) -> None:
    parser.add_argument(
        "--results",
        type=parse_path,
        default=DEFAULT_RESULTS,
        metavar="DIR",
        help="where runs live (default: %(default)s)",
    )


def refuse_lost_results(folder: Path) -> None:
    """Raises UserError for a folder that was given and is not there; the usual one need not be."""
    if folder != DEFAULT_RESULTS and not folder.is_dir():
        raise UserError(f"--results {folder}: no such folder; give one that runs were written to")


def add_json(parser: Flags) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, for scripts")


def add_baselines(parser: Flags, default: str) -> None:
    parser.add_argument(
        "--baselines",
        metavar="LIST",
        help=f"of {', '.join(BASELINES)} ({default}), NAME{BF16}, a family (see: list), or FILE.toml of your own",
    )


def add_protocol(parser: Flags, *, or_all: bool = False) -> None:
    """`or_all`: 'all' may be asked for too."""
    names = ", ".join([*PROTOCOLS, arguments.ALL_PROTOCOLS] if or_all else PROTOCOLS)
    parser.add_argument(
        "--protocol", default=FIRST_PROTOCOL, metavar="NAME", help=f"one of {names} (default: %(default)s)"
    )


def add_selection(parser: argparse.ArgumentParser, purpose: str, *, or_all: bool = False) -> None:
    """`--games --frames --baselines --seeds`, each optional, and `--protocol`; `or_all`: that of any."""
    group = parser.add_argument_group(purpose)
    group.add_argument(
        "--games", metavar="LIST", help="atari57, atari10, atari5, exploration, spatial or names: pong,breakout"
    )
    group.add_argument("--frames", metavar="N", help="budget in emulator frames (4 an agent step): 200k, 40M, 1e6")
    add_baselines(group, "default: all")
    group.add_argument("--seeds", metavar="N|LIST", help="a count (3 is 0,1,2) or a list (0,4; one alone: 4,)")
    add_protocol(group, or_all=or_all)
    parser.set_defaults(any_protocol=or_all)


@dataclass(frozen=True)
class Selection:
    """The flags, parsed; None where one was not given."""

    games: tuple[str, ...] | None
    frames: int | None
    baselines: tuple[str, ...] | None
    seeds: tuple[int, ...] | None
    protocol: str | None = FIRST_PROTOCOL  # None: of any

    @property
    def is_given(self) -> bool:
        """Whether any of the flags was given, another protocol than the usual one too."""
        return self != Selection(None, None, None, None)

    def holds(self, spec: RunSpec) -> bool:
        """Whether nothing that was given excludes `spec`."""
        return (
            (self.protocol is None or spec.protocol == self.protocol)
            and (self.games is None or spec.game in self.games)
            and (self.frames is None or spec.frames == self.frames)
            and (self.baselines is None or spec.baseline in self.baselines)
            and (self.seeds is None or spec.seed in self.seeds)
        )

    def matrix(self) -> tuple[RunSpec, ...]:
        """Every run of it, with the defaults for baselines and seeds. Needs games and frames."""
        assert self.games is not None
        assert self.frames is not None
        seeds, protocols = self.seeds or DEFAULT_SEEDS, PROTOCOLS if self.protocol is None else (self.protocol,)
        return tuple(
            spec
            for protocol in protocols
            for spec in plan_runs(self.baselines or BASELINES, self.games, self.frames, seeds, protocol)
        )


def parse_selection(parsed: argparse.Namespace) -> Selection:
    return Selection(
        games=None if parsed.games is None else arguments.parse_games(parsed.games),
        frames=None if parsed.frames is None else arguments.parse_frames(parsed.frames),
        baselines=None if parsed.baselines is None else arguments.parse_baselines(parsed.baselines),
        seeds=None if parsed.seeds is None else arguments.parse_seeds(parsed.seeds),
        protocol=(
            None
            if parsed.any_protocol and arguments.means_all_protocols(parsed.protocol)
            else arguments.parse_protocol(parsed.protocol, or_all=parsed.any_protocol)
        ),
    )


def of_other_protocols(found: Iterable[RunSpec], selection: Selection) -> str:
    """What else there is, of other protocols than the one that was asked for, in a line; "" for nothing."""
    others = Counter(spec.protocol for spec in found if selection.protocol not in (None, spec.protocol))
    return "\n".join(
        f"{display.plural(number, 'run')} of the protocol {name} not shown: add --protocol {name}"
        for name, number in sorted(others.items())
    )


def spell_selection(specs: list[RunSpec]) -> list[str]:
    """The flags of the fewest commands whose matrices are together exactly `specs`, as far as is easily found."""
    baselines, games, seeds = (_distinct(specs, key) for key in ("baseline", "game", "seed"))
    budgets = _distinct(specs, "frames")
    if len(budgets) > 1:
        return [line for frames in budgets for line in spell_selection([s for s in specs if s.frames == frames])]
    protocols = _distinct(specs, "protocol")
    if len(protocols) > 1:
        return [line for name in protocols for line in spell_selection([s for s in specs if s.protocol == name])]
    of = "" if protocols[0] == FIRST_PROTOCOL else f" --protocol {protocols[0]}"
    if len(specs) == len(baselines) * len(games) * len(seeds):
        return [
            f"--games {','.join(games)} --frames {format_frames(budgets[0])} "
            f"--baselines {','.join(map(_spell_baseline, baselines))} "
            f"--seeds {format_seeds(sorted(seeds))}{of}"
        ]
    # No full matrix: one after another, along whatever has the most values.
    key, values = max((("baseline", baselines), ("game", games), ("seed", seeds)), key=lambda pair: len(pair[1]))
    return [line for value in values for line in spell_selection([s for s in specs if getattr(s, key) == value])]


def _spell_baseline(name: str) -> str:
    path = describe(name).path
    return name if path is None else shlex.quote(str(path))


def _distinct(specs: list[RunSpec], key: str) -> list:
    return list(dict.fromkeys(getattr(spec, key) for spec in specs))
