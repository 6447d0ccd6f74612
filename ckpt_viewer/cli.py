"""The command line: arguments, exit codes, one-sentence errors. A window is imported only when one is wanted."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ckpt_viewer import __version__
from ckpt_viewer.core.location import parse_map_location
from ckpt_viewer.core.text import escape_text
from ckpt_viewer.errors import RELOAD, Cancelled, CheckpointError, StoppedLate

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint

    Command = Callable[[argparse.Namespace], int]

PROGRAM = "ckpt-viewer"
DONE, NOT_DONE, INTERRUPTED = 0, 2, 130
_listed: list[Checkpoint] = []
"""What was listed. The end of the process frees it at once; piece by piece that takes a tenth of the time of `ls`."""


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence on standard error."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with 2."""
        fail(None, f"{message}; see {self.prog} --help")
        raise SystemExit(NOT_DONE)


def fail(file: str | None, sentence: str) -> None:
    """Print one error line: ``ckpt-viewer: FILE: sentence``, with everything from outside escaped."""
    sentence = sentence.replace(RELOAD, "run this again")
    where = "" if file is None else f"{escape_text(file) or repr(file)}: "
    with suppress(OSError):  # nobody can be told where this cannot be written, and the exit code still says it
        print(f"{PROGRAM}: {where}{escape_text(sentence)}", file=sys.stderr)


def entry() -> NoReturn:
    """Be the program: run one command and end the process with its exit code."""
    code = main()
    if code == DONE and _listed:  # all of it has been written and flushed
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    0 done, 1 `check` found an error or `diff` a difference, 2 not done, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None or sys.stderr is None:  # closed by who started this
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115  as long as the program
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = argparse.Namespace()
    _listed.clear()
    try:
        options = _options(arguments)
        return options.run(options) or DONE
    except CheckpointError as error:
        _trace()
        fail(getattr(options, "file", None), str(error))
    except (KeyboardInterrupt, Cancelled) as stop:
        what = str(stop) if isinstance(stop, StoppedLate) else "before it was done; nothing was written"
        fail(getattr(options, "file", None), f"stopped {what}")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return DONE  # whoever read our output has enough
    except OSError as error:
        _trace()
        fail(
            getattr(options, "file", None),
            f"the system refused ({error.strerror or error}); check disk and permissions",
        )
        _drop_output()
    except Exception as error:
        _trace()
        problem = f"an error of the program itself ({type(error).__name__}: {error}); please report it"
        fail(getattr(options, "file", None), problem)
    return NOT_DONE


def _options(arguments: list[str]) -> argparse.Namespace:
    if not arguments or (arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help", "--version")):
        _refuse_misspelt(arguments[0] if arguments else "")
        if not any(each.startswith("-") for each in arguments):  # a start with nothing but files: a parser takes 8 ms
            from ckpt_viewer.cli_view import WINDOW_DEFAULTS, run_view

            return argparse.Namespace(files=arguments, run=run_view, **WINDOW_DEFAULTS)
        arguments = ["view", *arguments]
    parser = _parser(arguments)
    options, rest = parser.parse_known_args(_joined(arguments))
    several = getattr(options, "several", "")
    if rest and (not several or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # argparse ends what may be several at the first option
        getattr(options, several).extend(rest)
    return options


def _joined(arguments: list[str]) -> list[str]:
    """Join ``--slice`` and an index that begins with a minus, which argparse takes for an option otherwise."""
    for place, word in enumerate(arguments[1:], 1):
        if arguments[place - 1] == "--slice" and word[0:1] == "-" and word[1:2].isdigit():
            return [*arguments[: place - 1], f"--slice={word}", *arguments[place + 1 :]]
    return arguments


def _refuse_misspelt(word: str) -> None:
    """Exit where the first word is nearly a command and no file; a window with an error would be no help."""
    if not word.isalpha() or os.path.lexists(word):
        return
    from difflib import get_close_matches  # takes 3 ms, when something is wrong anyway

    near = get_close_matches(word.lower(), COMMANDS, 1, 0.7)
    if near:
        fail(None, f"there is neither a command nor a file {word!r}; did you mean {near[0]}? see {PROGRAM} --help")
        raise SystemExit(NOT_DONE)


def _drop_output() -> None:
    """Give up standard output: Python would complain once more while closing it."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def _trace() -> None:
    if os.environ.get("CKPT_VIEWER_DEBUG"):
        import traceback

        traceback.print_exc()


# --- commands -----------------------------------------------------------------------------------------------------


def add_map_location(parser: argparse.ArgumentParser) -> None:
    """Add ``--map-location SPEC``."""
    parser.add_argument(
        "--map-location",
        metavar="SPEC",
        default="as-saved",
        help="as-saved (default), cpu, cuda:0, mps ..., cuda:1=cuda:0,cuda:2=cpu, or storage",
    )


def _add_view(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_view

    cli_view.add_view(add)


def _add_demo(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_view

    cli_view.add_demo(add)


def _add_ls(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer.cli_files import add_file, add_salvage

    parser = add("ls", help="print the tree of FILE")
    add_file(parser)
    parser.add_argument("--json", action="store_true", help="every entry, as one JSON document")
    add_map_location(parser)
    add_salvage(parser)
    parser.set_defaults(run=run_ls)


def run_ls(options: argparse.Namespace) -> int:
    """Print the tree, for people or as JSON."""
    collecting = gc.isenabled()
    gc.disable()  # a listing makes a million records and no cycles; looking for some takes a sixth of its time
    try:
        _list(options)
    finally:
        if collecting:
            gc.enable()
    return DONE


def _list(options: argparse.Namespace) -> None:
    from ckpt_viewer.cli_progress import open_shown

    map_location, whole = parse_map_location(options.map_location), options.whole
    with open_shown(options.file, map_location, whole=whole, salvage=options.salvage) as checkpoint:
        if options.json:
            from ckpt_viewer.analysis.listing import listing_json

            sys.stdout.writelines(listing_json(checkpoint))
        else:
            from ckpt_viewer.analysis.tree_text import tree_lines

            sys.stdout.writelines(line + "\n" for line in tree_lines(checkpoint))
        sys.stdout.flush()
        _listed.append(checkpoint)


def _add_stats(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_stats

    cli_stats.add_parsers(add)


def _add_check(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_check

    cli_check.add_parsers(add)


def _add_diff(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_diff

    cli_diff.add_parsers(add)


def _add_export(add: Callable[..., argparse.ArgumentParser]) -> None:
    from ckpt_viewer import cli_export

    cli_export.add_parsers(add)


def _add_desktop(add: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add("desktop", help="open .pth files by double-click, for this user: install, uninstall, status")
    parser.add_argument("action", choices=("install", "uninstall", "status"))
    parser.set_defaults(run=run_desktop)


def run_desktop(options: argparse.Namespace) -> int:
    """Register the program for checkpoint files, take that back, or say what is so."""
    from ckpt_viewer import desktop

    backend = desktop.backend()
    if options.action == "install":
        report = backend.install(desktop.program_command())
    else:
        report = backend.uninstall() if options.action == "uninstall" else backend.status()
    for line in report.lines:
        print(escape_text(line))
    return DONE if report.ok else NOT_DONE


COMMANDS: dict[str, Callable[[Callable[..., argparse.ArgumentParser]], None]] = {
    "view": _add_view,
    "ls": _add_ls,
    "stats": _add_stats,
    "show": _add_stats,
    "check": _add_check,
    "diff": _add_diff,
    "export": _add_export,
    "remap": _add_export,
    "desktop": _add_desktop,
    "demo": _add_demo,
}
"""Word -> function that adds its parser. Only the wanted command's is called, so that the others cost no import."""


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    description = "See what is in a PyTorch checkpoint, choose where it loads, export its state_dict."
    usage = (
        f"{PROGRAM} [-h] [--version]\n"
        f"       {PROGRAM} [--map-location SPEC] [--select POINTER]\n"
        "                   [--screenshot PNG] [--size WxH] [FILE ...]\n"
        f"       {PROGRAM} COMMAND ..."
    )
    parser = _Parser(prog=PROGRAM, usage=usage, description=description, epilog="Nothing in a file is executed.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog=PROGRAM, required=True, parser_class=_Parser
    )
    word = arguments[0] if arguments else "view"
    wanted = [COMMANDS[word]] if word in COMMANDS else [_add_view]
    if word in ("-h", "--help"):
        wanted = list(dict.fromkeys(COMMANDS.values()))
    for add in wanted:
        add(commands.add_parser)
    return parser


if __name__ == "__main__":
    entry()
