"""What hostile files cost: time and memory of `ls`, `ls --json` and `check` against the budget.

    python tests/bench/bench_attacks.py [--command ls|json|check] [WORD ...]

A file of N bytes must open or be refused in under 200 MB + 20 N of memory (the child's own VmHWM) and 5 s + 1 s for
every 10 MB, which is compared with its CPU time: that is what it costs on a machine with nothing else to do. Words
choose the attacks whose title has one of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attacks import ATTACKS, M
from common import PROGRAM, run_once

COMMANDS = {"ls": ["ls"], "json": ["ls", "--json"], "check": ["check"]}
MEMORY, MEMORY_TIMES = 200 * M, 20
SECONDS, BYTES_A_SECOND = 5, 10 * M


def measure(title: str, words: list[str], path: Path) -> bool:
    """Run one command on the file that was made, print a line, and return whether it stayed within the budget."""
    size = path.stat().st_size
    run = run_once([*PROGRAM, *words, str(path)], codes=(0, 1, 2))
    memory, seconds = MEMORY + MEMORY_TIMES * size, SECONDS + size / BYTES_A_SECOND
    held = run.peak * M < memory and run.cpu < seconds
    print(
        f"{title:36} {' '.join(words):9} {size / M:6.2f} MB {run.peak:5.0f} of {memory / M:4.0f} MB "
        f"{run.cpu:6.2f} of {seconds:4.1f} s{'' if held else '   OVER'}",
        flush=True,
    )
    return held


def main() -> int:
    """Measure what was asked for; exit code 1 if anything is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--command", choices=COMMANDS, action="append")
    options = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attack.pth"
        for title, make in ATTACKS.items():
            if options.words and not any(word in title for word in options.words):
                continue
            path.write_bytes(make())
            over += sum(not measure(title, COMMANDS[each], path) for each in options.command or COMMANDS)
    print(f"{over} over the budget")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
