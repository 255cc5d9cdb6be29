"""What somebody sends in: runs, and beside them `submission.json`, which says whose they are and how to cite them.

    submission.json                          the first member of the archive
    [<protocol>/]<baseline>/<game>/<frames>/seed-<n>/     manifest, tables and whole action log of every run
        code/                                sources of an encoder of one's own; never executed here

Whatever it says is checked here letter by letter: a name ends up on pages, and a link is clicked. What was taken in,
`results.credits` keeps.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from results.archive import ALL_FILES, RUN_PATH
from results.errors import ResultsError, shown
from results.manifest import load_json
from results.manifest_rules import OBJECT, Rule, check_rules, text_rule
from results.schema import CODE_FOLDER, DEFAULT_LICENCE
from results.tar_check import UNREADABLE

SUBMISSION_FILE = "submission.json"
FORMAT_VERSION = 1
MAX_SUBMISSION_BYTES = 4 << 20  # 10,000 members have some 1.5 MB
MAX_CODE_BYTES = 1 << 20  # a file
MAX_CODE_FILES = 64  # a run
MAX_NAME, MAX_LINK, MAX_CITE = 100, 200, 10_000  # characters
KEYS = ("format_version", "by", "licence", "cite", "suite", "files")
_LINK = re.compile(
    r"https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,24}(?:/[A-Za-z0-9._~/?=&%+:@#,;-]*)?"
)
_ORCID = re.compile(r"(?:https://orcid\.org/)?([0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{3}[0-9X])")
_BY = re.compile(r"\s*(?P<name>[^<>]+?)\s*<\s*(?P<link>[^<>]+?)\s*>\s*")
_CODE = re.compile(r"code/(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/){0,3}[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.(?:py|toml)")
_DOI = re.compile(r"\b10\.[0-9]{4,9}/[A-Za-z0-9._()/:-]*[A-Za-z0-9]")
_ARXIV = re.compile(r"\barXiv[:\s]\s*([0-9]{4}\.[0-9]{4,5})(?:v[0-9]{1,2})?\b", re.IGNORECASE)
SHA256 = r"[0-9a-f]{64}"
VERSION_RULE = Rule(lambda value: value == FORMAT_VERSION, str(FORMAT_VERSION))


@dataclass(frozen=True)
class Submission:
    """Who sends runs in, under which licence, and how to cite them."""

    name: str
    link: str  # https: an ORCID iD, or a page
    licence: str  # SPDX
    cite: str  # a line, BibTeX or CITATION.cff
    suite: str  # version that packed it
    files: Mapping[str, str]  # member of the bundle -> SHA-256

    def as_json(self) -> dict[str, Any]:
        """`submission.json`."""
        return {
            "format_version": FORMAT_VERSION,
            "by": {"name": self.name, "link": self.link},
            "licence": self.licence,
            "cite": self.cite,
            "suite": self.suite,
            "files": dict(sorted(self.files.items())),
        }

    def as_bytes(self) -> bytes:
        """The file: the same submission gives the same bytes."""
        return (json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def parse_by(text: str) -> tuple[str, str]:
    """(name, link) of 'Ada Lovelace <0000-0002-1825-0097>' or '<https://...>'. Raises ResultsError."""
    match = _BY.fullmatch(text)
    if match is None:
        raise ResultsError(
            f'--by {shown(text)} does not say who; write "Ada Lovelace <https://orcid.org/0000-0002-1825-0097>", '
            f"with an ORCID iD or an https link"
        )
    link = match["link"]
    orcid = _ORCID.fullmatch(link)
    if orcid is not None:
        link = f"https://orcid.org/{orcid[1]}"
    try:
        return _name(match["name"]), _link(link)
    except ValueError as error:
        raise ResultsError(f"--by: {error}") from None


def parse_licence(text: str) -> str:
    """An SPDX expression in its usual spelling. Raises ResultsError."""
    try:
        return _licence(text)
    except ValueError as error:
        raise ResultsError(f"--licence: {error}") from None


def parse_cite(text: str) -> str:
    """What to cite, a line or the content of a file. Raises ResultsError."""
    try:
        return _cite(text.strip().replace("\r\n", "\n"))
    except ValueError as error:
        raise ResultsError(f"--cite: {error}") from None


def cite_link(text: str) -> str | None:
    """The first DOI in `text` as a link, else its arXiv number's, else its first https link; None without any."""
    if doi := _DOI.search(text):
        return f"https://doi.org/{doi[0]}"
    if arxiv := _ARXIV.search(text):
        return f"https://arxiv.org/abs/{arxiv[1]}"
    found = _LINK.search(text)
    return found[0].rstrip(".,;") if found else None


def is_extra_member(name: str, size: int) -> bool:
    """Whether a member of a bundle, of `size` bytes, is `submission.json` or a source of an encoder of one's own."""
    if name == SUBMISSION_FILE:
        return size <= MAX_SUBMISSION_BYTES
    place, slash, rest = name.partition(f"/{CODE_FOLDER}/")
    return (
        bool(slash)
        and RUN_PATH.fullmatch(place) is not None
        and _CODE.fullmatch(f"{CODE_FOLDER}/{rest}") is not None
        and ".." not in rest
        and size <= MAX_CODE_BYTES
    )


def place_of(member: str | PurePosixPath) -> str:
    """The place of the run that a member of a bundle belongs to."""
    path = PurePosixPath(member)
    for parent in path.parents:
        if RUN_PATH.fullmatch(str(parent)):
            return str(parent)
    return "/".join(path.parts[:4])


def begins_with_submission(file: Path) -> bool:
    """Whether `file` is an archive whose first member is `submission.json`. Reads one block."""
    try:
        with gzip.open(file) as stream:
            return tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "strict").name == SUBMISSION_FILE
    except UNREADABLE:
        return False  # whoever reads it whole says what is wrong with it


def read_submission(path: Path, where: str) -> Submission:
    """`submission.json` at `path`; `where` names it. Raises ResultsError with one line."""
    try:
        content = load_json(path)
    except ResultsError as error:
        raise ResultsError(str(error).replace(str(path), where)) from None
    try:
        return parse_submission(content)
    except ValueError as error:
        raise ResultsError(f"{where}: {error}") from None


def parse_submission(content: Any) -> Submission:
    """What `submission.json` holds. Raises ValueError saying what is wrong, without naming the file."""
    check_version(content)
    check_rules(
        content,
        {
            "format_version": VERSION_RULE,
            "by": OBJECT,
            "licence": text_rule(MAX_NAME),
            "cite": text_rule(MAX_CITE),
            "suite": text_rule(MAX_NAME),
            "files": OBJECT,
        },
        "",
    )
    check_rules(content["by"], {"name": text_rule(MAX_NAME), "link": text_rule(MAX_LINK)}, "by: ")
    for member, digest in content["files"].items():
        place, _, name = member.rpartition("/")
        if not (is_extra_member(member, 0) or (RUN_PATH.fullmatch(place) and name in ALL_FILES)):
            raise ValueError(f"files: {shown(member)} is no file of a run")
        if not isinstance(digest, str) or re.fullmatch(SHA256, digest) is None:
            raise ValueError(f"files: {member}: {shown(digest)} is no SHA-256, 64 hex digits")
    return Submission(
        name=_name(content["by"]["name"]),
        link=_link(content["by"]["link"]),
        licence=_licence(content["licence"]),
        cite=_cite(content["cite"]),
        suite=_line(content["suite"], "suite"),
        files=content["files"],
    )


def check_version(content: Any) -> None:
    """Raises ValueError for what a newer suite made."""
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise ValueError(
            f"was made by a newer suite (format {shown(version)}, this one reads {FORMAT_VERSION}): upgrade"
        )


def _name(text: str) -> str:
    if not text.strip() or any(letter in "<>" for letter in text):
        raise ValueError(f"{shown(text)} is no name; give the name of a person or a group, without < and >")
    if len(text) > MAX_NAME:
        raise ValueError(f"the name {shown(text)} is too long; at most {MAX_NAME} characters")
    return _line(text, "name")


def _line(text: str, what: str) -> str:
    """One line of letters that a page shows as they are: nothing that turns the direction of text, or is not seen."""
    if not text.isprintable() or any(unicodedata.category(letter) in ("Cf", "Co", "Cn") for letter in text):
        raise ValueError(f"the {what} {shown(ascii(text))} has letters that cannot be seen; write it in plain letters")
    return text


def _link(text: str) -> str:
    if len(text) > MAX_LINK or _LINK.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is neither an ORCID iD (0000-0002-1825-0097) nor a plain https link")
    if text.startswith("https://orcid.org"):
        match = _ORCID.fullmatch(text)
        if match is None or not _is_orcid(match[1]):
            raise ValueError(f"{shown(text)} is no ORCID iD: its check digit does not fit; copy it from orcid.org")
    return text


def _is_orcid(text: str) -> bool:
    """ISO 7064, mod 11-2."""
    plain = text.replace("-", "")
    digits, check = plain[:-1], plain[-1]
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2
    return "0123456789X"[(12 - total % 11) % 11] == check


def _licence(text: str) -> str:
    try:
        licence = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        licence = None
    if licence is None or "LicenseRef" in licence or len(licence) > MAX_NAME:
        raise ValueError(f"{shown(text)} is no SPDX licence; give one of spdx.org/licenses, such as {DEFAULT_LICENCE}")
    return str(licence)


def _cite(text: str) -> str:
    if not 0 < len(text.strip()) <= MAX_CITE:
        raise ValueError(f"needs a line, BibTeX or a CITATION.cff, of 1 to {MAX_CITE} characters, is {shown(text)}")
    for line in text.split("\n"):
        _line(line.replace("\t", " "), "citation")
    return text
