"""The program `elman`, and `python -m elman`: what both start with, light enough that Ctrl-C finds it ready."""

import sys


def main() -> None:
    """Run the program; Ctrl-C while its parts are still being loaded leaves with 130, as it does later."""
    try:
        from elman.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("elman: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
