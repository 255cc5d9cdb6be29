"""What of every run was played again, and agreed: `proof.json` in the results folder, beside the runs and committed.

`python -m suite verify --replay` writes it. An entry holds for the very games and actions it names: where a run's
hashes are others now, it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from results.atomic import write_json
from results.errors import ResultsError, shown
from results.manifest import load_json
from results.schema import EPISODES_FILE
from results.store import Run

PROOF_FILE = "proof.json"
PROOF_LOCK = ".proof.lock"  # beside it; held while it is read and written anew
FORMAT_VERSION = 1
REPLAYED = "re-played"
ON_ITS_WORD = "on its word"


@dataclass(frozen=True)
class Proof:
    """What was played again of one run."""

    actions_sha256: str  # identity of the run's whole action log
    episodes_sha256: str  # of its table of games
    games: int  # that the run has
    replayed: Mapping[str, int]  # environment ("train 3") -> its games, all of which agreed
    versions: Mapping[str, str]  # of the suite and of envpool that played them
    at: str  # ISO 8601, UTC

    @property
    def games_replayed(self) -> int:
        return sum(self.replayed.values())

    @property
    def environments(self) -> int:
        """How many of the run's environments were played again, from their first step to their last."""
        return len(self.replayed)

    def holds_for(self, run: Run) -> bool:
        """Whether the run still has the actions and the games that this names."""
        actions, episodes = run.manifest["actions"], run.manifest["files"].get(EPISODES_FILE)
        return (
            actions is not None
            and episodes is not None
            and actions["sha256"] == self.actions_sha256
            and episodes["sha256"] == self.episodes_sha256
        )

    def state(self, run: Run) -> str:
        """In words: "re-played", "sampled (k of n games)" or "on its word"."""
        if not self.replayed or not self.holds_for(run):
            return ON_ITS_WORD
        if self.environments == run.manifest["actions"]["environments"]:
            return REPLAYED
        return f"sampled ({self.games_replayed:,} of {self.games:,} games)"

    def joined_with(self, later: Proof) -> Proof:
        """`later`, with what this one adds to it: other environments of the same log, played by the same versions."""
        same = ("actions_sha256", "episodes_sha256", "versions")
        if any(getattr(self, key) != getattr(later, key) for key in same):
            return later
        return replace(later, replayed={**self.replayed, **later.replayed})


def proof_state(run: Run, proofs: Mapping[str, Proof]) -> str:
    """How far `run` has been played again, in words; `proofs` as `read_proofs` gives them."""
    proof = proofs.get(str(run.spec.directory))
    return ON_ITS_WORD if proof is None else proof.state(run)


def read_proofs(root: Path) -> Mapping[str, Proof]:
    """Place of a run below the results folder `root` ("pqn/Pong/4M/seed-0") -> its proof; empty without PROOF_FILE.

    Stale ones are among them: ask `proof_state`, or `Proof.holds_for`.

    Raises:
        ResultsError: the file cannot be read, or is of another form.
    """
    path = Path(root) / PROOF_FILE
    if not path.exists():
        return {}
    content = load_json(path)
    try:
        if content["format_version"] != FORMAT_VERSION:
            raise ResultsError(
                f"{path}: is of format {shown(content['format_version'])}, this one reads {FORMAT_VERSION}: upgrade"
            )
        return {place: _proof(entry) for place, entry in content["proofs"].items()}
    except ResultsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultsError(
            f"{path}: is no table of proofs ({' '.join(str(error).split())}); delete it, and verify --replay again"
        ) from None


def write_proofs(root: Path, found: Mapping[str, Proof], *, refuted: Iterable[str] = ()) -> None:
    """Adds what was `found` to the proofs in the results folder `root`, and drops the `refuted` places.

    Raises: ResultsError, as `read_proofs`; OSError if it cannot be written.
    """
    refuted = tuple(refuted)
    if _joined(read_proofs(root), found, refuted) is None:
        return  # nothing is new
    with filelock.FileLock(Path(root) / PROOF_LOCK):  # two commands may each play a part of the runs
        proofs = _joined(read_proofs(root), found, refuted)
        if proofs is None:
            return
        entries = {
            place: asdict(proof) | {"replayed": dict(sorted(proof.replayed.items()))}
            for place, proof in sorted(proofs.items())
        }
        write_json(Path(root) / PROOF_FILE, {"format_version": FORMAT_VERSION, "proofs": entries})


def _joined(
    before: Mapping[str, Proof], found: Mapping[str, Proof], refuted: Iterable[str]
) -> Mapping[str, Proof] | None:
    """The proofs `before` with what was found and without what was refuted; None where that changes nothing."""
    proofs = dict(before)
    for place, proof in found.items():
        if not proof.replayed:
            continue
        joined = proofs[place].joined_with(proof) if place in proofs else proof
        if place not in proofs or replace(joined, at=proofs[place].at) != proofs[place]:  # else nothing is new
            proofs[place] = joined
    for place in refuted:
        proofs.pop(place, None)
    return None if proofs == before else proofs


def _proof(entry: Any) -> Proof:
    proof = Proof(**entry)
    counts = [proof.games, *proof.replayed.values()]
    texts = [proof.actions_sha256, proof.episodes_sha256, proof.at, *proof.versions.values()]
    if any(type(count) is not int or not 0 <= count < 2**63 for count in counts):
        raise ValueError("a count of games is none")
    if any(not isinstance(text, str) for text in texts):
        raise ValueError("a text is expected")
    return proof
