"""Parameter types that several verbs share."""

import re

import click


class Size(click.ParamType[tuple[int, int]]):
    """`HEIGHTxWIDTH` in pixels, or one number for a square."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the text."""
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write HEIGHTxWIDTH such as 480x640", param, ctx)
        height = int(match[1])
        return height, int(match[2] or height)
