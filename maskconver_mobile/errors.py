"""The one exception a user of this package needs to catch, and what it warns with."""


class MaskConverError(Exception):
    """A mistake in the input: one line that names the file, key or tensor, and the way out."""


class GateShut(MaskConverError):  # noqa: N818 - it is an answer more than an error
    """What was asked for was done, and the result is not good enough."""


class MaskConverWarning(UserWarning):
    """Something about the input that was mended or that may surprise: one line."""
