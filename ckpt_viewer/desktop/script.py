"""The installed program that a double-click is to start."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_NAMES = ("ckpt-viewer", "ckpt-viewer.exe")


def program_command() -> list[str]:
    """The command that starts this program again from anywhere: absolute path first.

    The script that runs now, else the one beside this Python, else the one on the PATH, else ``python -m ckpt_viewer``.
    """
    running = Path(sys.argv[0])
    beside = [Path(sys.executable).parent / name for name in _NAMES]
    on_path = [Path(found) for name in _NAMES if (found := shutil.which(name))]
    for script in [*([running] if running.name in _NAMES else []), *beside, *on_path]:
        if script.is_file() and os.access(script, os.X_OK):
            return [str(script.absolute())]
    return [sys.executable, "-m", "ckpt_viewer"]
