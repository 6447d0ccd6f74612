"""What hostile files cost: time and memory of every command, and of a window until its tree is painted.

    python tests/bench/bench_attacks.py [--command ls|json|check|stats|show|diff|export|remap|salvage|window] [WORD ...]

A file of N bytes must open or be refused in under 200 MB + 20 N of memory (the child's own VmHWM) and 5 s + 1 s for
every 10 MB, which is compared with its CPU time: that is what it costs on a machine with nothing else to do. `diff`
opens two files, each of which has that; a window has the 60 MB and 0.4 s of an empty one beside it. Words choose the
attacks whose title has one of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, M
from common import PROGRAM, run_once

FILE, OUT = "attack.pth", "out.pth"
WRITING = [FILE, "-o", OUT, "--force", "--no-torch"]
"""torch would judge what was written in a process with limits of its own."""
COMMANDS = {
    "ls": ["ls", FILE],
    "json": ["ls", "--json", FILE],
    "check": ["check", FILE],
    "stats": ["stats", FILE],
    "show": ["show", FILE, ""],
    "show-json": ["show", "--json", FILE, ""],
    "diff": ["diff", FILE, FILE],
    "export": ["export", *WRITING],
    "remap": ["remap", *WRITING, "--map-location", "cpu"],
    "salvage": ["ls", "--salvage", FILE],
    "window": [FILE],
}
MEMORY, MEMORY_TIMES = 200 * M, 20
SECONDS, BYTES_A_SECOND = 5, 10 * M
WINDOW_MEMORY, WINDOW_SECONDS = 60 * M, 0.4


def measure(title: str, command: str, folder: Path) -> bool:
    """Run one command on the file that was made, print a line, and return whether it stayed within the budget."""
    size = (folder / FILE).stat().st_size
    words = [str(folder / word) if word in (FILE, OUT) else word for word in COMMANDS[command]]
    run = run_once([*PROGRAM, *words], codes=(0, 1, 2), env=_own_settings(folder))
    memory, seconds = MEMORY + MEMORY_TIMES * size, SECONDS + size / BYTES_A_SECOND
    files = words.count(str(folder / FILE))
    memory, seconds = memory * files, seconds * files
    if command == "window":
        memory, seconds = memory + WINDOW_MEMORY, seconds + WINDOW_SECONDS
    held = run.peak * M < memory and run.cpu < seconds
    print(
        f"{title:36} {command:9} {size / M:6.2f} MB {run.peak:5.0f} of {memory / M:4.0f} MB "
        f"{run.cpu:6.2f} of {seconds:4.1f} s{'' if held else '   OVER'}",
        flush=True,
    )
    return held


def _own_settings(folder: Path) -> dict[str, str]:
    """Return the environment of a window that ends at its first paint, and reads nothing that a user has set up."""
    homes = {f"XDG_{word}_HOME": str(folder) for word in ("CONFIG", "DATA", "CACHE")}
    return {"QT_QPA_PLATFORM": "offscreen", "CKPT_VIEWER_EXIT": "painted", "HOME": str(folder), **homes}


def main() -> int:
    """Measure what was asked for; exit code 1 if anything is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--command", choices=COMMANDS, action="append")
    options = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        for title, make in ATTACKS.items():
            if options.words and not any(word in title for word in options.words):
                continue
            (Path(folder) / FILE).write_bytes(make())
            over += sum(not measure(title, each, Path(folder)) for each in options.command or COMMANDS)
    print(f"{over} over the budget")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
