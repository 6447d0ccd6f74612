"""The file that a command reads, and how it is opened: the same for every command."""

from __future__ import annotations

import argparse


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add ``FILE`` and ``--set``."""
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--set", dest="whole", action="store_true", help="where FILE is one of a sharded set: the whole set"
    )


def add_salvage(parser: argparse.ArgumentParser) -> None:
    """Add ``--salvage``."""
    parser.add_argument(
        "--salvage", action="store_true", help="where FILE is cut off or damaged, rebuild what can be trusted of it"
    )
