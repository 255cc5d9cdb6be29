"""Code of one's own: where a reference such as `my_net.py:MyEncoder` leads, which bytes it stands for, the class in it.

A reference names a file beside the TOML that uses it (`my_net.py:MyEncoder`) or an installed module
(`my_package.nets:MyEncoder`). Finding one reads its source and executes nothing, not even a package's `__init__`.
Loading executes the very bytes that were found. What that code imports is not part of its SHA-256.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from baselines.config import ConfigError

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.py")
_CLASS = r"[A-Za-z_][A-Za-z0-9_]*"
_FILE = re.compile(rf"(?P<file>[^:]+\.py):(?P<name>{_CLASS})")
_MODULE = re.compile(rf"(?P<module>{_CLASS}(\.{_CLASS})*):(?P<name>{_CLASS})")
# Whatever the user's code raises; exit() would end the suite without a word, and with the code of success.
USER_ERRORS = (Exception, SystemExit)
_OUR_PACKAGES = {"baselines", "suite", "results", "reports"}
_USUAL = (
    {"torch", "numpy"} | _OUR_PACKAGES | set(sys.stdlib_module_names)
)  # named by a manifest's versions, or Python's


@dataclass(frozen=True)
class Source:
    """The source of one reference."""

    reference: str  # as configurations and hashes name it: the file's own name, without its folder
    path: Path
    data: bytes
    kept_as: str  # its file's name among a run's records

    @cached_property
    def sha256(self) -> str:
        """Of the bytes, 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def class_name(self) -> str:
        return self.reference.rpartition(":")[2]

    def unhashed_imports(self) -> tuple[str, ...]:
        """Modules that this code imports and that neither its hash nor a manifest's versions cover."""
        try:
            nodes = list(ast.walk(ast.parse(self.data)))
        except (SyntaxError, ValueError):
            return ()  # loading it says what is wrong
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {"." * node.level + (node.module or "") for node in nodes if isinstance(node, ast.ImportFrom)}
        return tuple(sorted(name for name in names if name.partition(".")[0] not in _USUAL))


_sources: dict[str, Source] = {}  # of this process, by reference
_modules: dict[tuple[Path, str], ModuleType] = {}  # executed, by path and SHA-256


def is_reference(text: str) -> bool:
    """Whether `text` is meant to lead to code, and is no name out of a table."""
    return ":" in text or text.endswith(".py")


def find_source(reference: str, folder: Path) -> Source:
    """What `reference`, written in a TOML of `folder`, leads to. Remembers it for `load_class`; executes nothing.

    Raises ConfigError: it is no reference, leads nowhere, or another file of that name was found before.
    """
    if (match := _FILE.fullmatch(reference)) is not None:
        path = folder / match["file"]
        if _FILE_NAME.fullmatch(path.name) is None:
            raise ConfigError(f"{reference!r}: name the file with letters, digits, '.', '_' and '-' alone")
        data = _read(path, reference)
        source = Source(f"{path.name}:{match['name']}", path.resolve(), data, path.name)
    elif (match := _MODULE.fullmatch(reference)) is not None:
        path = _module_file(match["module"], reference)
        source = Source(reference, path.resolve(), _read(path, reference), f"{match['module']}.py")
    else:
        raise ConfigError(
            f'{reference!r} is no code of your own; write "my_net.py:MyClass" or "my_package.module:MyClass"'
        )
    before = _sources.setdefault(source.reference, source)
    if before.path != source.path and before.sha256 != source.sha256:
        raise ConfigError(
            f"{source.reference} is in {before.path} and in {source.path}; "
            "give one of the two files another name, so that results can tell them apart"
        )
    _sources[source.reference] = source
    return source


def load_class(reference: str) -> Any:
    """The class of a reference that `find_source` gave, from the bytes that were found. Executes them, once a process.

    Raises ConfigError, in one line: executing failed, or there is no such class.
    """
    source = _sources[reference]
    return class_of(source, source.class_name)


def class_of(source: Source, name: str) -> Any:
    """The class `name` in a source."""
    module = _execute(source)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        own = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        what = "has no class" if found is None else "has something else than a class by the name"
        raise ConfigError(f"{source.path.name} {what} {name} (its classes: {', '.join(own) or 'none'})")
    return found


def _execute(source: Source) -> ModuleType:
    key = source.path, source.sha256
    if key in _modules:
        return _modules[key]
    # A name of its own: two files called net.py must not be one module. Dataclasses look theirs up by it.
    module = ModuleType(f"own_code_{source.sha256[:12]}_{source.path.stem}")
    module.__file__ = str(source.path)
    folder = str(source.path.parent)
    if "." in source.kept_as.removesuffix(".py"):
        module.__package__ = source.kept_as.removesuffix(".py").rpartition(".")[0]  # its relative imports
    sys.modules[module.__name__] = module
    sys.path.append(folder)  # what lies beside the file can be imported, as in a script
    try:
        with prints_aside():
            exec(compile(source.data, str(source.path), "exec"), vars(module))
    except USER_ERRORS as error:
        del sys.modules[module.__name__]
        raise ConfigError(f"{source.path.name} cannot be loaded: {describe_error(error, source.path)}") from error
    finally:
        sys.path.remove(folder)
    _modules[key] = module
    return module


def prints_aside() -> AbstractContextManager[Any]:
    """What the user's code prints meanwhile goes to stderr: a command's stdout is its result, JSON for one."""
    return redirect_stdout(sys.stderr)


def describe_error(error: BaseException, path: Path) -> str:
    """An error of the user's code in one line, with the last line of `path` that it went through."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno or 1]
    where = f" (line {lines[-1]})" if lines else ""
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    text = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}{': ' + text if text else ''}{where}"


def keep(sources: Sequence[Source]) -> Mapping[str, Source]:
    """The sources by the names under which a run keeps them. Raises ConfigError where two have one name."""
    kept: dict[str, Source] = {}
    for source in sources:
        if kept.setdefault(source.kept_as, source).path != source.path:
            raise ConfigError(
                f"{source.path} and {kept[source.kept_as].path} have one name; give one of the two files another"
            )
    return kept


def _read(path: Path, reference: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{reference!r}: {path} cannot be read ({error.strerror or error})") from None


def _module_file(name: str, reference: str) -> Path:
    """The source file of a module, found part by part: `importlib.util.find_spec` would execute its packages."""
    search: Sequence[str] | None = None
    done: list[str] = []
    spec: ModuleSpec | None = None
    for part in name.split("."):
        done.append(part)
        spec = _spec(".".join(done), search)
        if spec is None:
            raise ConfigError(
                f"{reference!r}: there is no module {'.'.join(done)}; install it, or give a file.py:Class"
            )
        search = spec.submodule_search_locations
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(f"{reference!r}: {name} has no Python source file, which its hash would be taken of")
    return Path(spec.origin)


def _spec(name: str, search: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, search)
        if spec is not None:
            return spec
    return None
