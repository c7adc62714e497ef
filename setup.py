"""What a package installer needs stands in pyproject.toml."""

from setuptools import setup

setup()
