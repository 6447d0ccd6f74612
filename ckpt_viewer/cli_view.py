"""The commands that open windows: ``view``, which no word says too, and ``demo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ckpt_viewer.core.location import parse_map_location
from ckpt_viewer.errors import CheckpointError, Unreadable

WINDOW_DEFAULTS = {"map_location": "as-saved", "select": None, "screenshot": None, "size": ""}
"""What a window is opened with where nothing else is said."""


def add_view(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parser of ``view``."""
    parser = add("view", help="open a window for each FILE (also without the word view)")
    parser.add_argument("files", nargs="*", metavar="FILE")
    _add_window(parser)
    parser.set_defaults(run=run_view, several="files")


def _add_window(parser: argparse.ArgumentParser) -> None:
    from ckpt_viewer.cli import add_map_location

    add_map_location(parser)
    parser.add_argument("--select", metavar="POINTER", help="select this node, as in /model/conv1.weight")
    parser.add_argument("--screenshot", metavar="PNG", help="paint the window into this file and exit")
    parser.add_argument("--size", metavar="WxH", help="size of the window, as in 1280x800")
    parser.set_defaults(**WINDOW_DEFAULTS)


def run_view(options: argparse.Namespace) -> int:
    """Open windows and wait until they are closed."""
    from ckpt_viewer.gui.app import ViewOptions, run

    files = options.files
    if len(files) == 1:
        options.file = files[0]
    if "" in files:  # an unset variable of a shell; as a path it would mean the folder one is in
        options.file = ""
        raise Unreadable("there is no such file; check the path")
    if options.screenshot and len(files) != 1:
        raise CheckpointError("--screenshot paints one window; give exactly one FILE")
    view = ViewOptions(
        map_location=parse_map_location(options.map_location),
        select=options.select,
        screenshot=options.screenshot,
        size=_size(options.size),
    )
    return run(files, view)


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, times, height = text.lower().partition("x")
    if not times or not width.isdigit() or not height.isdigit() or not 100 <= min(int(width), int(height)) <= 20000:
        raise CheckpointError(f"--size {text!r} is no size of a window; write it as 1280x800")
    return int(width), int(height)


def add_demo(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parser of ``demo``."""
    parser = add("demo", help="open the sample checkpoint that comes with the program")
    _add_window(parser)
    parser.set_defaults(run=run_demo)


def run_demo(options: argparse.Namespace) -> int:
    """Open the sample checkpoint."""
    from ckpt_viewer.resources import sample_checkpoint

    options.files = [str(sample_checkpoint())]
    return run_view(options)
