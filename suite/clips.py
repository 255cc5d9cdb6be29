"""Makes the clips of a report: of each baseline and game the best greedy game that can be played again.

A clip is made once and kept in the user's cache, by the hash of everything it follows from.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np

from baselines.emulator.envs import FRAME_SKIP
from reports.catalogue import Catalogue
from reports.pages.clips import Clip, Clips
from results.atomic import write_bytes
from results.errors import ResultsError
from results.store import Run, scan
from results.verify import verify_run
from suite import display
from suite.fresh_processes import each_in_processes
from suite.game_screens import STEPS_PER_SECOND, Screen
from suite.logged_games import BEST, LoggedGame, choose, games_of, read_actions, seeds_of
from suite.own_catalogue import Scan
from suite.proof import origin_problems
from suite.report_cache import user_cache
from suite.retraced_game import GameDiffers, last_step
from suite.stage_progress import StageProgress
from suite.stop_signals import StopSignals
from suite.video import INSTALL, can_encode, picture, png, video_file
from suite.watch import Shown, shown, title_of

RENDERER = 1  # raise it whenever a clip of the same game would look another
MAX_BYTES = 300_000
MAX_AGENT_STEPS = 500_000  # of an environment, before its best game ends: some minutes of playing
_SECONDS = (20, 10)  # a clip that is too large at every quality is made shorter
_QUALITIES = (34, 44, 54, 63)  # of VP9, the best first
_SCALE = 2
_PACKAGES = ("av", "pillow", "envpool", "envpool-assets", "numpy")


@dataclass(frozen=True)
class Chosen:
    """A game that a clip is made of."""

    run: Run
    game: LoggedGame
    actions: np.ndarray  # [vector steps] uint8, of its environment

    @property
    def steps(self) -> int:
        """Agent steps of its environment until the game's end."""
        return last_step(self.run, self.game)

    @property
    def place(self) -> Path:
        """Where its clip is kept."""
        return user_cache() / "clips" / f"{_key(self.run, self.game, self.actions[: self.steps])}.clip"


@dataclass(frozen=True)
class ClipPlan:
    """Which clips a report is to show."""

    chosen: tuple[Chosen, ...] = ()
    clips: Clips = field(default_factory=Clips)  # those that were made before, and of which runs there can be none

    @property
    def missing(self) -> list[Chosen]:
        """What is still to be made."""
        made = {(clip.baseline, clip.game) for clip in self.clips.clips}
        return [one for one in self.chosen if (one.run.spec.baseline, one.run.spec.game) not in made]


def plan_clips(folders: Sequence[Path], catalogue: Catalogue, scan: Scan = scan) -> ClipPlan:
    """The clips of everything below the folders of results. Raises ResultsError if one is no folder."""
    logged = _logged_runs(folders, catalogue, scan)
    if not can_encode(".webm"):
        why = f"Clips of games need PyAV and Pillow, which are not installed here; {INSTALL}."
        games = sorted({run.spec.game for run in logged})
        return ClipPlan(clips=Clips(why_none=why, without=dict.fromkeys(games, ())))
    without: dict[str, list[str]] = defaultdict(list)
    best: dict[tuple[str, str], Chosen] = {}
    for run in logged:
        try:
            source = read_actions(run)
            game = choose(BEST, games_of(run), source)
            _refuse_unsound(run)
            _refuse_long(last_step(run, game))
        except (ResultsError, GameDiffers, ValueError) as error:
            without[run.spec.game].append(f"No clip of {run.spec}: {_told(error, run)}.")
            continue
        key = run.spec.baseline, run.spec.game
        if key not in best or _rank(run, game) > _rank(best[key].run, best[key].game):
            best[key] = Chosen(run, game, source.of(game))
    kept = [clip for clip in (_read(one.place) for one in best.values()) if clip is not None]
    return ClipPlan((*best.values(),), _clips(kept, without))


def make_clips(plan: ClipPlan, progress: StageProgress, processes: int) -> Clips:
    """All clips of the plan; each is kept as soon as it is made.

    Raises Stopped: Ctrl-C or SIGTERM came before the last one was made by several processes.
    """
    missing = plan.missing
    processes = min(processes, len(missing))
    outcomes = _made_here(missing, progress) if processes < 2 else _made_by_processes(missing, progress, processes)
    without = {game: [*lines] for game, lines in plan.clips.without.items()}
    for one, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, str):
            without.setdefault(one.run.spec.game, []).append(outcome)
    order = {(one.run.spec.baseline, one.run.spec.game): place for place, one in enumerate(plan.chosen)}
    clips = [*plan.clips.clips, *(outcome for outcome in outcomes if isinstance(outcome, Clip))]
    clips.sort(key=lambda clip: order[clip.baseline, clip.game])
    return replace(_clips(clips, without), why_none=plan.clips.why_none)


def _clips(clips: Iterable[Clip], without: Mapping[str, Sequence[str]]) -> Clips:
    return Clips((*clips,), without={game: (*lines,) for game, lines in without.items()})


def _made_here(missing: Sequence[Chosen], progress: StageProgress) -> list[Clip | str]:
    outcomes = []
    for number, one in enumerate(missing, start=1):
        progress.say(f"clip {number} of {len(missing)}: {one.run.spec}, game {one.game.row}")
        outcomes.append(_made(one, progress))
        progress.clear()
    return outcomes


def _made_by_processes(missing: Sequence[Chosen], progress: StageProgress, processes: int) -> list[Clip | str]:
    done = 0

    def returned(place: int) -> None:
        nonlocal done
        done += missing[place].steps
        progress.tick(done)

    progress.stage(f"making {len(missing)} clips", sum(one.steps for one in missing))
    with StopSignals() as signals:
        outcomes = each_in_processes(processes, signals, _made_quietly, [(one,) for one in missing], returned=returned)
    progress.clear()
    return outcomes


def _made_quietly(one: Chosen) -> Clip | str:
    return _made(one, StageProgress(io.StringIO()))


def _made(one: Chosen, progress: StageProgress) -> Clip | str:
    """The clip, or why there is none."""
    try:
        clip = _make(one.run, one.game, one.actions, progress)
    except (GameDiffers, ResultsError) as error:
        return f"No clip of {one.run.spec}: {_told(error, one.run)}."
    place = one.place
    with suppress(OSError):  # a cache that cannot be written costs time, no more
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(place, _packed(clip))
    return clip


def _logged_runs(folders: Sequence[Path], catalogue: Catalogue, scan: Scan) -> list[Run]:
    """Finished runs that keep actions, but for those of another configuration than their baseline's.

    Of a run that two folders have, the first one's.
    """
    found: dict[PurePosixPath, Run] = {}
    for folder in folders:
        for entry in scan(folder):
            if isinstance(entry, Run) and entry.spec.protocol not in catalogue.other_protocols:
                found.setdefault(entry.spec.directory, entry)
    runs = list(found.values())
    pinned = {info.name: info.config_hash for info in catalogue.baselines}
    return [
        run
        for run in runs
        if run.is_done
        and run.manifest["actions"] is not None
        and pinned.get(run.spec.baseline, run.spec.config_hash) == run.spec.config_hash
    ]


def _rank(run: Run, game: LoggedGame) -> tuple[int, bool, float, int]:
    """Runs of the largest budget are shown, then greedy games, then the best one; of equals that of the least seed."""
    return run.spec.frames, game.kind == "greedy", game.game.episode_return, -run.spec.seed


def _refuse_unsound(run: Run) -> None:
    if problems := [*verify_run(run), *origin_problems(run)]:
        raise GameDiffers(problems[0])


def _refuse_long(steps: int) -> None:
    if steps > MAX_AGENT_STEPS:
        raise GameDiffers(
            f"{display.count(steps)} agent steps would be played first; python -m suite watch has the patience for it"
        )


def _told(error: Exception, run: Run) -> str:
    """Without the folder: the page says the same wherever the results lie."""
    root = str(run.directory).removesuffix(str(run.spec.directory))
    return str(error).replace(root, "").rstrip(".")


def _make(run: Run, game: LoggedGame, actions: np.ndarray, progress: StageProgress) -> Clip:
    show = shown(run, game, actions, progress)
    for seconds in _SECONDS:
        first, last = best_part([m.reward for m in show.played.moments], seconds * STEPS_PER_SECOND)
        clip = _of_part(show, first, last, progress)
        if clip is not None:
            return clip
    raise GameDiffers(f"{_SECONDS[-1]} seconds of it are more than {display.size(MAX_BYTES)} at the lowest quality")


def best_part(rewards: list[float], length: int) -> tuple[int, int]:
    """The `length` moments in which most points are made: first, and one past the last.

    Of several such stretches it is the middle one; where no point is made, the end of the game.
    """
    total = len(rewards)
    if total <= length:
        return 0, total
    sums = np.concatenate(([0.0], np.cumsum(rewards)))
    gained = sums[length:] - sums[:-length]
    if max(rewards) <= 0:
        return total - length, total
    starts = np.flatnonzero(gained == gained.max())
    first = int(starts[len(starts) // 2])
    return first, first + length


def _of_part(show: Shown, first: int, last: int, progress: StageProgress) -> Clip | None:
    """The clip of some moments at the best quality that is small enough; None if there is none."""
    screens = [screen for screen in takewhile(lambda s: s.step < last, show.screens(progress)) if screen.step >= first]
    run, game, title = show.played.run, show.played.game, title_of(show.played.run)
    video = _encoded(_pictures_of(screens, title), show.pictures_per_second)
    if video is None:
        return None
    poster = picture(screens[len(screens) // 2], title, scale=_SCALE)
    return Clip(
        baseline=run.spec.baseline,
        game=run.spec.game,
        budget=run.spec.frames,
        seed=run.spec.seed,
        row=game.row,
        kind=game.kind,
        score=game.game.episode_return,
        game_frames=game.game.length * FRAME_SKIP,
        first_frame=screens[0].frames,
        seconds=len(screens) / show.pictures_per_second,
        pictures_per_second=show.pictures_per_second,
        width=poster.shape[1],
        height=poster.shape[0],
        video=video,
        poster=png(poster),
    )


def _pictures_of(screens: list[Screen], title: str) -> Callable[[], Iterable[np.ndarray]]:
    return lambda: (picture(screen, title, scale=_SCALE) for screen in screens)


def _encoded(pictures: Callable[[], Iterable[np.ndarray]], pictures_per_second: int) -> bytes | None:
    with tempfile.TemporaryDirectory(prefix="hadamax-suite-") as folder:
        file = Path(folder) / "clip.webm"
        for quality in _QUALITIES:
            settings = {"crf": str(quality), "cpu-used": "2"}
            with video_file(file, pictures_per_second=pictures_per_second, settings=settings) as write:
                for pixels in pictures():
                    write(pixels)
            if file.stat().st_size <= MAX_BYTES:
                return file.read_bytes()
    return None


def _key(run: Run, game: LoggedGame, actions: np.ndarray) -> str:
    """Hash of everything that a clip follows from."""
    facts = {
        "renderer": RENDERER,
        "actions": hashlib.sha256(actions.tobytes()).hexdigest(),
        "environment_seed": seeds_of(run, game.kind)[game.environment],
        "rom": run.manifest["environment"].get("rom_sha256"),
        "protocol": run.manifest["config"]["protocol"],
        "game": asdict(game),
        "spec": str(run.spec),
        "versions": {package: metadata.version(package) for package in _PACKAGES},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _packed(clip: Clip) -> bytes:
    """A line of facts, then video and poster."""
    facts = asdict(replace(clip, video=b"", poster=b"")) | {
        "video": len(clip.video),
        "poster": len(clip.poster),
        "sha256": hashlib.sha256(clip.video + clip.poster).hexdigest(),
    }
    return json.dumps(facts, sort_keys=True, default=str).encode() + b"\n" + clip.video + clip.poster


def _read(place: Path) -> Clip | None:
    """The clip that was kept; None where there is none, or it is not what was written."""
    try:
        head, _, data = place.read_bytes().partition(b"\n")
        facts = json.loads(head)
        if hashlib.sha256(data).hexdigest() != facts.pop("sha256"):
            return None
        length = facts["video"]
        return Clip(**facts | {"video": data[:length], "poster": data[length:]})
    except (OSError, ValueError, KeyError, TypeError):
        return None
