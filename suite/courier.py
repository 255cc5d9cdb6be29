"""What a run's folder on a node has that is not at home yet."""

from __future__ import annotations

import json
from pathlib import Path

from results.hashing import sha256_hex
from results.schema import CODE_FOLDER, FULL_ACTIONS_FILE, MANIFEST_FILE
from suite.keeper import Luggage, Parcel
from suite.run_files import ACTION_LOG_FILE, CHECKPOINT_NAME, RUN_LOG_FILE

_MOST_PRINTED = 1 << 16  # bytes of a run's log in one parcel; a longer rest follows in the next ones


class Courier:
    """Makes parcels of what changed since the last one that was kept."""

    def __init__(self, directory: Path, luggage: Luggage):
        """Unpacks `luggage` into `directory`, which is made."""
        self._directory = directory
        self._kept = {name: sha256_hex(data) for name, data in luggage.files.items()}  # name -> SHA-256 at home
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in luggage.files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(data)
        if luggage.actions:
            (directory / ACTION_LOG_FILE).write_bytes(luggage.actions)
        # A run whose newest checkpoint is damaged goes on from the one before, and does the actions after it again.
        steps = [int(match["vector_steps"]) for match in map(CHECKPOINT_NAME.fullmatch, luggage.files) if match]
        width = _width(luggage.files[MANIFEST_FILE]) if MANIFEST_FILE in luggage.files else 0
        self._actions_kept = min([len(luggage.actions), *(number * width for number in steps)]) if steps else 0
        self._printed_kept = 0
        self._on_the_way: tuple[dict[str, str], int, int] | None = None

    def parcel(self) -> Parcel | None:
        """What is to be sent now; None where nothing is new, or the run is in the middle of a save."""
        try:
            return self._parcel()
        except FileNotFoundError:
            return None  # of a checkpoint that was replaced at this moment

    def was_kept(self) -> None:
        """The last parcel has arrived."""
        if self._on_the_way is not None:
            kept, self._actions_kept, self._printed_kept = self._on_the_way
            self._kept |= kept
            self._on_the_way = None

    def _parcel(self) -> Parcel | None:
        printed = self._printed()
        manifest = self._directory / MANIFEST_FILE
        data = manifest.read_bytes() if manifest.exists() else b""
        if not data or self._kept.get(MANIFEST_FILE) == sha256_hex(data):
            if not printed:
                return None
            # Only words: what lies at home stays.
            self._on_the_way = {}, self._actions_kept, self._printed_kept + len(printed)
            return Parcel(self._actions_kept, b"", {}, self._present(), printed)
        found = {MANIFEST_FILE: data}
        values = json.loads(data)
        for name, entry in values["files"].items():
            table = (self._directory / name).read_bytes()
            if sha256_hex(table) != entry["sha256"]:
                return None  # between its tables and its manifest
            found[name] = table
        for path in (self._directory / CODE_FOLDER).glob("[!.]*"):  # of a user's own
            found[f"{CODE_FOLDER}/{path.name}"] = path.read_bytes()
        full = self._directory / FULL_ACTIONS_FILE
        if values["status"] == "done" and full.exists():
            found[full.name] = full.read_bytes()
        actions, offset = b"", self._actions_kept
        checkpoint = self._newest_checkpoint()
        if checkpoint is not None:
            name, checkpoint_data = checkpoint
            found[name] = checkpoint_data
            if (self._directory / ACTION_LOG_FILE).exists():
                match = CHECKPOINT_NAME.fullmatch(name)
                assert match is not None
                length = int(match["vector_steps"]) * _width(data)
                offset = min(offset, length)
                with (self._directory / ACTION_LOG_FILE).open("rb") as log:
                    log.seek(offset)
                    actions = log.read(length - offset)
        digests = {name: sha256_hex(content) for name, content in found.items()}
        changed = {name: content for name, content in found.items() if self._kept.get(name) != digests[name]}
        self._on_the_way = digests, offset + len(actions), self._printed_kept + len(printed)
        return Parcel(offset, actions, changed, self._present(), printed)

    def _present(self) -> frozenset[str]:
        names = {path.name for path in self._directory.iterdir()}
        return frozenset(name for name in names if CHECKPOINT_NAME.fullmatch(name) or name == ACTION_LOG_FILE)

    def _newest_checkpoint(self) -> tuple[str, bytes] | None:
        """Name and bytes of the newest one whose bytes are sound."""
        names = sorted((p.name for p in self._directory.glob("checkpoint-*.pt")), reverse=True)
        for match in filter(None, map(CHECKPOINT_NAME.fullmatch, names)):
            data = (self._directory / match.string).read_bytes()
            if sha256_hex(data) == match["sha256"]:
                return match.string, data
        return None

    def _printed(self) -> bytes:
        log = self._directory / RUN_LOG_FILE
        if not log.exists():
            return b""
        with log.open("rb") as file:
            file.seek(self._printed_kept)
            return file.read(_MOST_PRINTED)


def _width(manifest: bytes) -> int:
    """Environments of the run whose manifest this is: bytes of its action log a vector step."""
    environment = json.loads(manifest)["environment"]
    return sum(len(environment.get(key, ())) for key in ("train_seeds", "greedy_seeds"))
