"""Baselines of a user's own on the command line: tried out before anything runs, and kept with their runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from baselines.code import USER_ERRORS, describe_error, is_reference, prints_aside
from baselines.config import ConfigError
from baselines.description import Description
from baselines.own import resolved_toml
from baselines.registry import describe, is_own, load_pinned
from results.atomic import write_bytes
from results.schema import CODE_BASELINE_FILE, CODE_FOLDER

_AGENT_METHODS = ("train", "retrace", "state_dict", "load_state_dict", "diagnose", "provenance", "close")
_MEASURED_METHODS = ("act_once", "ready_batch", "learn_once")
_CONFIG_METHODS = ("total_updates", "frames_per_update")


@dataclass(frozen=True)
class OwnTried:
    """A baseline of a user's own that can be trained."""

    name: str
    facts: str  # what it is, in a line
    notes: tuple[str, ...]  # what the user should know, a line each


def keep_code(directory: Path, description: Description) -> dict[str, Any] | None:
    """Writes a user's baseline and its code into the run's folder.

    Returns: {reference: {file, sha256}}, the manifest's `code`; None for a baseline of the suite's.
    """
    if description.path is None:
        return None
    folder = directory / CODE_FOLDER
    folder.mkdir(exist_ok=True)
    write_bytes(folder / CODE_BASELINE_FILE, resolved_toml(description).encode("utf-8"))
    for source in description.code.values():
        write_bytes(folder / source.kept_as, source.data)
    return {
        reference: {"file": source.kept_as, "sha256": source.sha256}
        for reference, source in sorted(description.code.items())
    }


def try_own(baselines: Iterable[str], *, measured: bool = False) -> list[OwnTried]:
    """Executes the code of those of `baselines` that are a user's own: whether it can be trained with.

    With `measured`, also what a measurement needs of an agent.

    Raises ConfigError for what would stop a run.
    """
    with prints_aside():
        return [_try_one(name, measured=measured) for name in baselines if is_own(name)]


def _try_one(name: str, *, measured: bool) -> OwnTried:
    pinned = load_pinned(name)
    facts, notes = [f"extends {pinned.extends}" if pinned.extends else "extends nothing"], []
    for source in pinned.code.values():
        imports = source.unhashed_imports()
        if imports:
            notes.append(f"{source.path.name} imports {', '.join(imports)}, which the config hash does not cover")
    if is_reference(pinned.algorithm):
        _check_agent(pinned.algorithm, pinned.config, measured=measured)
    else:
        from baselines.memory_plan import parameter_count
        from baselines.networks.precision import check_precision

        try:
            check_precision(pinned.config.precision)
            parameter_count(pinned.config)  # builds its network: an encoder that there is not is refused
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from error
        except USER_ERRORS as error:
            if not is_reference(pinned.config.encoder):
                raise
            encoder_file = pinned.code[pinned.config.encoder].path
            raise ConfigError(
                f"{name}: {pinned.config.encoder} cannot be used: {describe_error(error, encoder_file)}"
            ) from error
    encoder = pinned.values.get("encoder")
    if isinstance(encoder, str) and encoder in pinned.code and not is_reference(pinned.algorithm):
        from baselines.networks.trial import try_encoder

        tried = try_encoder(encoder, pinned.code[encoder].path, {}, pinned.values.get("precision", "float32"))
        layers = f"; diagnostics of {', '.join(tried.layers)}" if tried.layers else ""
        facts.append(f"{encoder}: {tried.parameters:,} weights, {tried.features:,} features{layers}")
        notes += tried.notes
    return OwnTried(name, "; ".join(facts), tuple(notes))


def tell(tried: Iterable[OwnTried], stream: TextIO) -> None:
    """The notes on baselines of a user's own, a line each."""
    for own in tried:
        for note in own.notes:
            print(f"note: {own.name}: {note}", file=stream)


def own_files(baselines: Iterable[str]) -> tuple[Path, ...]:
    """The files of those of `baselines` that are a user's own, for the processes that run them."""
    return tuple(path.resolve() for name in dict.fromkeys(baselines) if (path := describe(name).path) is not None)


def _check_agent(reference: str, config: Any, *, measured: bool) -> None:
    from baselines.code import load_class

    agent = load_class(reference)
    missing = [n for n in (*_AGENT_METHODS, *(_MEASURED_METHODS if measured else ())) if not hasattr(agent, n)]
    if missing:
        raise ConfigError(f"{reference} lacks {', '.join(missing)}; baselines/agent.py says what each of them gives")
    missing = [n for n in (*_CONFIG_METHODS, *(("for_measuring",) if measured else ())) if not hasattr(config, n)]
    if missing:
        raise ConfigError(
            f"{reference}: {type(config).__name__} lacks {', '.join(missing)}; baselines/pqn.py has an example of each"
        )
