"""`python -m wsmon` and the console script."""

import sys

from wsmon.cli import main as cli_main


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(cli_main(sys.argv[1:]))


if __name__ == "__main__":
    main()
