"""Streams that are closed, full, or narrow, given to real processes."""

import os
import subprocess
import sys

import pytest

from suite import streams


def suite(arguments, redirection="", **environment):
    """Exit code, stdout and stderr of `python -m suite` in a shell, with everything it could not say on them."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m suite {arguments} {redirection}', sys.executable],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_traceback(tmp_path, redirection):
    code, _out, err = suite(f"status --results {tmp_path}", redirection)
    assert (code, err) == (0, b"")


def test_a_line_for_a_closed_stderr_does_not_land_on_stdout(tmp_path):
    assert suite("status --games pogn", "2>&-") == (2, b"", b"")


@pytest.mark.parametrize("command", ["list", "list --json", "status --results {folder}"])
def test_a_full_output_is_one_line(tmp_path, command):
    code, _out, err = suite(command.format(folder=tmp_path), ">/dev/full")
    assert code == 1
    assert err == b"error: the output cannot be written or read (No space left on device)\n"


def test_a_full_stderr_still_has_the_exit_code():
    assert suite("status --games pogn", "2>/dev/full")[0] == 2


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}],
)
def test_markdown_goes_to_a_stream_that_lacks_its_characters(tmp_path, environment):
    code, out, err = suite("report --markdown", f"--results {tmp_path}", PYTHONUTF8="0", **environment)
    assert (code, err) == (0, b"")
    assert b"| claim" in out.lower() or b"claim" in out.lower()


def test_what_a_stream_lacks_is_written_in_plain_characters():
    streams.prepare()
    assert "\u22121.5 \u00d7 \u00e9\u2026".encode("ascii", "suite-plain") == b"-1.5 x e..."
    assert "\udcff\u4e2d".encode("utf-8", "suite-plain") == b"?\xe4\xb8\xad"
