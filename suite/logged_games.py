"""The games of a run whose actions are there, and the choice of one of them. Of an unfinished run too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.actions import read_log
from results.errors import ResultsError
from results.schema import EPISODE_KINDS, EPISODES_FILE
from results.store import Run, read_episodes
from suite.errors import UserError
from suite.proof import Game
from suite.run_files import ACTION_LOG_FILE

BEST, LAST = "best", "last"


@dataclass(frozen=True)
class LoggedGame:
    """A game of a run's table."""

    row: int  # of the table, from 0
    kind: str
    environment: int  # index among those of its kind
    place: int  # among the games of its environment, from 0
    game: Game


@dataclass(frozen=True)
class ActionSource:
    """Every action that a run keeps."""

    kept: frozenset[tuple[str, int]]  # (kind, environment) whose actions are there
    columns: dict[tuple[str, int], np.ndarray]  # [vector steps] uint8

    def of(self, game: LoggedGame) -> np.ndarray:
        return self.columns[game.kind, game.environment]


def read_actions(run: Run) -> ActionSource:
    """The actions of a run: of a finished one from its packed log, else from the log that it appends to.

    Raises:
        ResultsError: it keeps none, or they cannot be read.
    """
    log = read_log(run)
    if log is not None:
        kept = log.kept
        together = log.actions(kept)
        return ActionSource(frozenset(kept), {name: together[:, i] for i, name in enumerate(kept)})
    names = [(kind, i) for kind in EPISODE_KINDS for i in range(len(seeds_of(run, kind)))]
    path = run.directory / ACTION_LOG_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ResultsError(
            f"{run.directory} keeps no action log: its games cannot be played again; runs of today's suite keep one"
        ) from None
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not names:
        raise ResultsError(f"{run.directory}: its manifest does not say which environments it had")
    whole = len(data) // len(names)  # a run that is being written may have half a step at its end
    steps = np.frombuffer(data, dtype=np.uint8, count=whole * len(names)).reshape(whole, len(names))
    return ActionSource(frozenset(names), {name: steps[:, i] for i, name in enumerate(names)})


def seeds_of(run: Run, kind: str) -> list[int]:
    """The seeds of a run's environments of one kind."""
    return list(run.manifest["environment"].get(f"{kind}_seeds", ()))


def games_of(run: Run) -> list[LoggedGame]:
    """Every finished game, in the order of the table.

    Raises:
        ResultsError: the table cannot be read, or has no game.
    """
    if not run.is_done and not (run.directory / EPISODES_FILE).exists():
        raise ResultsError(f"{run.directory}: has no finished game yet; watch it when it has saved some")
    games: list[LoggedGame] = []
    seen: dict[tuple[str, int], int] = {}
    for row, found in enumerate(read_episodes(run.directory).itertuples(index=False)):
        name = str(found.kind), int(found.environment)
        place = seen[name] = seen.get(name, -1) + 1
        game = Game(int(found.frames), float(found.episode_return), int(found.length), str(found.end))
        games.append(LoggedGame(row, *name, place, game))
    if not games:
        raise ResultsError(f"{run.directory}: has no finished game")
    return games


def choose(wanted: str, games: Sequence[LoggedGame], actions: ActionSource) -> LoggedGame:
    """The game that `wanted` names: "best", "last", or a row of the table.

    Best and last are of the greedy games whose actions are kept, or of the training games where no greedy one is. Of
    two equally good ones it is the later.

    Raises:
        UserError: there is no such game, or its actions are not kept.
    """
    kept = [game for game in games if (game.kind, game.environment) in actions.kept]
    if not kept:
        raise UserError("the run keeps the actions of none of its finished games")
    greedy = [game for game in kept if game.kind == "greedy"] or kept
    if wanted == BEST:
        return max(greedy, key=lambda game: (game.game.episode_return, game.row))
    if wanted == LAST:
        return greedy[-1]
    if not wanted.isascii() or not wanted.isdecimal() or len(wanted) > 9 or int(wanted) >= len(games):
        raise UserError(
            f"--game {wanted!r} is no game of this run; give {BEST}, {LAST}, or a row from 0 to {len(games) - 1}"
        )
    game = games[int(wanted)]
    if game not in kept:
        rows = ", ".join(str(game.row) for game in kept[-5:])
        raise UserError(
            f"--game {wanted} was played by {game.kind} environment {game.environment}, whose actions are not kept; "
            f"the last rows whose actions are: {rows}"
        )
    return game
