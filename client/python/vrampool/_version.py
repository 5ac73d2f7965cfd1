"""The package's version: the one place of it, which pyproject.toml reads. A
test holds it against the library's own."""

__version__ = "0.1.0"
