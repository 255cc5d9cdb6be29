"""Whose runs are that others sent in: `submissions/<name>.json` in the results folder, a file a submission.

An entry holds for the very games and actions that it names: where a run's are others now, it counts for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from results.atomic import write_json
from results.errors import ResultsError, shown
from results.manifest import load_json
from results.manifest_rules import OBJECT, Rule, check_rules, text_rule
from results.schema import EPISODES_FILE
from results.store import Run
from results.submissions import (
    FORMAT_VERSION,
    KEYS,
    MAX_CITE,
    SHA256,
    VERSION_RULE,
    Submission,
    check_version,
    cite_link,
    parse_submission,
)

SUBMISSIONS_FOLDER = "submissions"
_TEXT = text_rule(MAX_CITE)
_RULES = {
    "format_version": VERSION_RULE,
    "name": _TEXT,
    "bundle_sha256": _TEXT,
    "by": OBJECT,
    "licence": _TEXT,
    "cite": _TEXT,
    "suite": _TEXT,
    "received_at": _TEXT,
    "runs": OBJECT,
}
_DIGEST = Rule(lambda value: isinstance(value, str) and re.fullmatch(SHA256, value), "a SHA-256")
_RECORD_NAME = r"[a-z0-9][a-z0-9-]{0,99}"


@dataclass(frozen=True)
class Credit:
    """Whose a run is, as the results folder keeps it."""

    record: str  # name of the file in SUBMISSIONS_FOLDER, without .json
    bundle_sha256: str
    name: str
    link: str
    licence: str
    cite: str
    runs: Mapping[str, Mapping[str, str]]  # place -> {actions_sha256, episodes_sha256}

    @property
    def cite_link(self) -> str | None:
        """Where the citation leads: its DOI, else its arXiv number, else its first https link."""
        return cite_link(self.cite)

    def holds_for(self, run: Run) -> bool:
        """Whether `run` still has the games and actions that were submitted."""
        return self.runs.get(str(run.spec.directory)) == identity(run)


def identity(run: Run) -> dict[str, str | None]:
    """What makes a run the one that was submitted."""
    actions, episodes = run.manifest["actions"], run.manifest["files"].get(EPISODES_FILE)
    return {
        "actions_sha256": None if actions is None else actions["sha256"],
        "episodes_sha256": None if episodes is None else episodes["sha256"],
    }


def record_name(submission: Submission, bundle_sha256: str) -> str:
    """'ada-lovelace-1a2b3c4d': who in plain letters, and the beginning of the bundle's hash."""
    plain = unicodedata.normalize("NFKD", submission.name).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "somebody"
    return f"{slug}-{bundle_sha256[:8]}"


def write_record(root: Path, submission: Submission, bundle_sha256: str, runs: Sequence[Run]) -> Path:
    """Keeps who made `runs`, in the results folder `root`; runs that it kept before of the same bundle stay.

    Returns: the file. Raises ResultsError for a file that cannot be read, OSError for one that cannot be written.
    """
    name = record_name(submission, bundle_sha256)
    path = root / SUBMISSIONS_FOLDER / f"{name}.json"
    known: Mapping[str, Mapping[str, str]] = {}
    if path.exists():
        before = _read_credit(path)
        if before.bundle_sha256 != bundle_sha256:  # the name has only the beginning of the hash
            raise ResultsError(f"{path} is the record of another bundle; pack this one anew, to give it another name")
        known = before.runs
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {**known, **{str(run.spec.directory): identity(run) for run in runs}}
    values = submission.as_json()
    record = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "bundle_sha256": bundle_sha256,
        **{key: values[key] for key in ("by", "licence", "cite", "suite")},
        "received_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": dict(sorted(entries.items())),
    }
    write_json(path, record)
    return path


@dataclass(frozen=True)
class Credits:
    """Everything that was submitted to one results folder."""

    records: tuple[Credit, ...]
    broken: tuple[tuple[str, str], ...] = ()  # file below the results folder, reason

    def of(self, run: Run) -> Credit | None:
        """Whose `run` is; None for one that was measured here."""
        return next((credit for credit in self.records if credit.holds_for(run)), None)


def read_credits(root: Path) -> Credits:
    """Every record in the results folder `root`, by name; one that cannot be read is named, and left out."""
    records, broken = [], []
    for path in sorted((Path(root) / SUBMISSIONS_FOLDER).glob("*.json")):
        try:
            records.append(_read_credit(path))
        except ResultsError as error:
            broken.append((f"{SUBMISSIONS_FOLDER}/{path.name}", str(error)))
    return Credits(tuple(records), tuple(broken))


def _read_credit(path: Path) -> Credit:
    content = load_json(path)
    try:
        check_version(content)
        check_rules(content, _RULES, "")
        if content["name"] != path.stem or re.fullmatch(_RECORD_NAME, path.stem) is None:
            raise ValueError(f"is the record {shown(content['name'])}; call it so")
        for place, entry in content["runs"].items():
            check_rules(entry, {"actions_sha256": _DIGEST, "episodes_sha256": _DIGEST}, f"{shown(place)}: ")
        # What a submission may say, a record may say.
        submission = parse_submission({**{key: content[key] for key in KEYS if key != "files"}, "files": {}})
    except ValueError as error:
        raise ResultsError(f"{path}: {error}") from None
    return Credit(
        record=path.stem,
        bundle_sha256=content["bundle_sha256"],
        name=submission.name,
        link=submission.link,
        licence=submission.licence,
        cite=submission.cite,
        runs=content["runs"],
    )
