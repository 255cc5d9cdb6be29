"""What to run and where: the protocol, the plan, one run, the executors, the command line."""

__version__ = "0.1.0"
