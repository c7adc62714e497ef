"""Words of others, as they may be shown on a terminal."""


def plain(text: str) -> str:
    """Text without control characters, which could draw on the user's terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def printable(text: str) -> str:
    """Text as one line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
