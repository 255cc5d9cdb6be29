"""`python -m suite`."""

import sys

if __name__ == "__main__":
    try:
        from suite.cli import main  # takes a second, in which Ctrl-C is no crash either

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
