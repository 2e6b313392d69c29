"""`sample-cluster` and `python -m sample_cluster`."""

import sys

from sample_cluster.cli import run


def main() -> int:
    """Run the command line; return the exit status."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
