"""The one exception a user of this package needs to catch, and what it warns with."""


class MaskConverError(Exception):
    """A mistake in the input: one line that names the file, key or tensor, and the way out."""


class MaskConverWarning(UserWarning):
    """Something about the input that was mended or that may surprise: one line."""
