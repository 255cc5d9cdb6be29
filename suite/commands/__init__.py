"""The subcommands, a module each.

A module has `NAME`, `SUMMARY`, `EXAMPLES`, `add_arguments(parser)` and `run(parsed) -> exit code`; its docstring heads
its help. What takes long to import is imported inside `run`, so that `--help` answers at once.
"""

from suite.commands import bench, doctor, export, import_, list, new, pack, report, run, status, verify, watch

COMMANDS = (run, report, status, watch, list, doctor, bench, new, verify, export, import_, pack)
