"""A baseline as a TOML that extends another one: the suite's own variants, and what a user brings.

    name = "narrow"
    extends = "pqn"
    [values]
    encoder = { value = "my_net.py:NarrowEncoder", source = "ours" }

It has every value of the one it extends but those that it gives itself. `title` and `paper` can be given too, and
`algorithm = "my_agent.py:MyAgent"` brings an agent, whose config is the dataclass `MyAgentConfig` beside it. What lies
in a user's file is held to what a results folder and a manifest can take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from baselines.code import Source, find_source, is_reference
from baselines.config import ConfigError, read_references, read_sourced, read_toml
from baselines.description import Description

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
LONGEST_NAME = 100  # it is a folder's name
_REQUIRED, _OPTIONAL = {"name", "extends"}, {"title", "algorithm", "paper", "sources", "values"}


def read_extension(path: Path, base: Callable[[str], Description]) -> Description:
    """The baseline in the TOML `path`. Executes no code of it.

    Args:
        base: the description of a baseline of the suite by its name.

    Raises ConfigError: the file cannot be read, lacks a key or has an unknown one, a value lacks its source, it
        extends nothing that there is, or its code cannot be found.
    """
    document = read_toml(path)
    if "extends" not in document and {"algorithm", "paper"} <= document.keys():
        document = {**document, "extends": None}  # whole by itself, as the copy that a run keeps
    missing, unknown = sorted(_REQUIRED - document.keys()), sorted(document.keys() - _REQUIRED - _OPTIONAL)
    if missing:
        raise ConfigError(f"{path}: missing {', '.join(missing)}")
    if unknown:
        raise ConfigError(f"{path}: unknown {', '.join(unknown)} (allowed: {', '.join(sorted(_REQUIRED | _OPTIONAL))})")
    for key in ("name", "extends", "title", "algorithm", "paper"):
        if not isinstance(document.get(key, ""), str) and not (key == "extends" and document[key] is None):
            raise ConfigError(f"{path}: {key} must be a text, is {document[key]!r}")
    for key in ("title", "paper"):  # a cell of tables
        if not document.get(key, "").isprintable():
            raise ConfigError(f"{path}: {key} must be one line of printable characters, is {document[key]!r}")
    for key in ("sources", "values"):
        if not isinstance(document.get(key, {}), dict):
            raise ConfigError(f"{path}: {key} must be a table, [{key}]")
    name = document["name"]
    if NAME.fullmatch(name) is None or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{path}: the name {name!r} can name no folder of results; use lower-case letters, digits, '.', '_' and "
            f"'-', a letter or digit first, at most {LONGEST_NAME}"
        )
    extended = _extended(path, document["extends"], base)
    given, sources = read_sourced(document.get("values", {}), where=str(path))
    references = read_references(document.get("sources", {}), where=str(path))
    for key, value in given.items():
        try:
            toml_value(value)  # a run keeps a copy of this file
        except ConfigError as error:
            raise ConfigError(f"{path}: {key}: {error}") from None
    algorithm = document.get("algorithm", extended.algorithm if extended else "")
    values = {**(extended.values if extended else {}), **given}
    code = {**(extended.code if extended else {})}
    if is_reference(algorithm) and "algorithm" in document:
        algorithm = _find(algorithm, path, code)
    if isinstance(given.get("encoder"), str) and is_reference(given["encoder"]):
        values["encoder"] = _find(given["encoder"], path, code)
    used = {algorithm, values.get("encoder")}
    return Description(
        name=name,
        title=document.get("title", name),
        algorithm=algorithm,
        paper=document.get("paper", extended.paper if extended else ""),
        values=values,
        sources={**(extended.sources if extended else {}), **sources},
        references={**(extended.references if extended else {}), **references},
        code={reference: source for reference, source in code.items() if reference in used},
        extends=document["extends"],
        path=path,
    )


def _extended(path: Path, name: str | None, base: Callable[[str], Description]) -> Description | None:
    if name is None:
        return None
    try:
        return base(name)
    except ConfigError as error:
        raise ConfigError(f"{path}: extends: {error}") from None


def _find(reference: str, path: Path, code: dict[str, Source]) -> str:
    """The reference as configurations name it; notes its source in `code`."""
    try:
        source = find_source(reference, path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    code[source.reference] = source
    return source.reference


def resolved_toml(description: Description) -> str:
    """The description as a TOML that extends nothing: every value with its source.

    Beside the code it names, `read_extension` reads it as the same configuration.

    Raises ConfigError for a value that TOML has no spelling of here.
    """
    header = {key: getattr(description, key) for key in ("name", "title", "algorithm", "paper")}
    lines = [f"{key} = {toml_value(value)}" for key, value in header.items()]
    lines += ["", "[sources]", *(f"{toml_value(k)} = {toml_value(v)}" for k, v in description.references.items())]
    lines += ["", "[values]"]
    for key, value in description.values.items():
        lines.append(f"{key} = {{ value = {toml_value(value)}, source = {toml_value(description.sources[key])} }}")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """`value` as TOML writes it. Raises ConfigError for what has no spelling here."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{toml_value(k)} = {toml_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, int | float):
        return repr(value)  # TOML reads what Python writes, inf and nan too
    raise ConfigError(f"{value!r} is no text, number, true, false, list or table; write it as a text, in quotes")
