"""Repositories of one commit, to be taken for the suite's own."""

import subprocess


def checkout_of(folder):
    """Makes `folder` a repository of one committed file. Returns it."""
    folder.mkdir(exist_ok=True)
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
    (folder / "code.py").write_text("")
    for arguments in (["init", "--quiet"], ["add", "code.py"], ["commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
    return folder
