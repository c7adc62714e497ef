"""`python -m maskconver_mobile` is the command line."""

from maskconver_mobile.cli import main

if __name__ == "__main__":
    main()
