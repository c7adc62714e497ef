"""`python -m maskconver_mobile` is the command line, and so is the command `maskconver-mobile`."""

import sys


def main() -> None:
    """Run the command line; an interrupt while it is imported ends as quietly as a later one."""
    try:
        from maskconver_mobile import cli

        cli.main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
