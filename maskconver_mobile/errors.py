"""The one exception a user of this package needs to catch."""


class MaskConverError(Exception):
    """A mistake in the input: one line that names the file, key or tensor, and the way out."""
