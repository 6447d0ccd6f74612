"""Machine code for the kernels: taken from a file, or made by the worker process while counting goes on in numpy."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.folder import cache_folder, shrink, store

if TYPE_CHECKING:
    from ckpt_viewer.stats.native import Native

WORTH = 64 << 20
"""Bytes to be counted from which machine code is asked for: fewer take numpy a fraction of a second."""
MOST_FILES, MOST_BYTES = 8, 8 << 20
_log = logging.getLogger(__name__)


class Preparation:
    """Gets machine code ready on a thread, once. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if that was not done before; from its end on `kernels.current` are machine code, if all is well."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kernels", daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; return whether machine code is in use."""
        if self._thread is not None:
            self._thread.join(seconds)
        return kernels.current() is not kernels.plain()

    def _run(self) -> None:
        try:
            native = load() or make()
        except (CheckpointError, ImportError) as error:
            _log.info("counting in numpy: %s", error)
            return
        kernels.use(native)


the_preparation = Preparation()
"""The one of this process."""


def prepare(nbytes: int) -> None:
    """Have machine code made ready where counting `nbytes` is worth it; returns at once."""
    if nbytes >= WORTH:
        the_preparation.start()


def load() -> Native | None:
    """Return the kernels from the file that `make` wrote on this computer; None where there is none that fits.

    Raises:
        ImportError: llvmlite is not installed.
    """
    from ckpt_viewer.stats.native import Native

    path = _path()
    if path is None:
        return None
    try:
        answer = json.loads(path.read_bytes())
        if answer["digest"] != _digest(answer["object"]):
            return None
        return Native(answer)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def make() -> Native:
    """Let a worker process compile the kernels, and keep them.

    Raises:
        CheckpointError: that failed. ImportError: llvmlite is not installed.
    """
    from ckpt_viewer.stats.native import Native
    from ckpt_viewer.worker import Worker

    with Worker() as worker:
        answer: dict[str, Any] = worker.request("compile_kernels")
    try:
        native = Native(answer)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"the compiled kernels cannot be used ({error}); install numba again") from error
    path = _path()
    if path is not None:
        store(path, [json.dumps({**answer, "digest": _digest(answer["object"])}).encode()])
        shrink(path.parent, MOST_BYTES, MOST_FILES)
    return native


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _path() -> Path | None:
    """Return where machine code for this processor, made of these sources by this compiler, is kept."""
    import llvmlite

    from ckpt_viewer.stats.compiler import llvm

    folder = cache_folder("kernels")
    if folder is None:
        return None
    sources = [Path(__file__).with_name(f"native_{name}.py").read_text() for name in ("source", "float32")]
    what = (*sources, llvmlite.__version__, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return folder / (_digest("\n".join(what))[:32] + ".json")
