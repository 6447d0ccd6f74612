"""The one other process, which has torch: started when first asked, restarted when it dies. No Qt.

It runs isolated (``python -I``) in an empty folder, so that a ``torch.py`` beside a hostile checkpoint is not imported,
limits itself (`worker_main`), and answers in lines of JSON; nothing is ever unpickled from it.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ckpt_viewer.errors import CheckpointError

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from ckpt_viewer.worker_main import main; main()"
"""What the process runs; its argument is the folder that holds this package."""
LONGEST = 64 << 20
"""Bytes of an answer."""
TIMEOUT = 120.0
"""Seconds until an answer has to be there; importing torch from a cold disk takes up to a minute."""
LOOK_UP = 0.05
"""Seconds between two calls of whoever waits for an answer."""
MEMBERS = 64
"""Members of a list that are written at once; some 0.1 ms."""
PATIENCE = 1.0
"""Seconds that the process is given to end by itself."""


class Worker:
    """The worker process; a context manager. Every method may be called from any thread.

    Args:
        program: Python code to run instead of our own, for tests.
    """

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._closed = False
        self._number = 0

    def request(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        timeout: float = TIMEOUT,
        waiting: Callable[[], None] | None = None,
    ) -> Any:
        """Return the answer to a request, as JSON holds it. Blocks; requests are answered one at a time.

        Args:
            timeout: seconds until the answer has to be there.
            waiting: called now and then until it is; what it raises ends the process and is passed on.

        ``devices``: ``["cpu", "cuda:0"]``. ``device_info``: dicts of tag, name and memory (bytes or null).
        ``load_errors`` (tags): what torch.load would say for each tag, ``""`` if it loads.
        ``compile_kernels``: machine code, see `stats.native_source.compile_kernels`.
        ``count``: see `stats.remote.WorkerKernels`.
        ``lr_curve`` (state, groups, until): see `torch_bridge.schedules.lr_curve`.
        ``load_copy``, ``compare_blocks``: see `torch_bridge.proof`.

        Raises:
            CheckpointError: what was asked for failed, or the process died, is silent or talks nonsense. The next
                request starts a new one.
        """
        with self._lock:
            if self._closed:
                raise CheckpointError("the worker process was closed; open the window again")
            if self._process is None:
                self._process = _Process(self._program)
            self._number += 1
            try:
                request = {"id": self._number, "method": method, "params": params or {}}
                answer = self._process.ask(request, timeout, waiting)
            except BaseException:  # also of who waits: the answer would come to the next request
                self._process.stop(0)
                self._process = None
                raise
        if "error" in answer:
            raise CheckpointError(str(answer["error"]))
        return answer.get("result")

    @property
    def pid(self) -> int | None:
        """Number of the process, None while there is none."""
        process = self._process
        return process.pid if process is not None else None

    def close(self) -> None:
        """End the process. A request under way in another thread fails."""
        self._closed = True
        while not self._lock.acquire(timeout=0.05):
            process = self._process
            if process is not None:
                process.stop(0)  # somebody waits for an answer: this ends the wait
        try:
            if self._process is not None:
                self._process.stop(PATIENCE)
                self._process = None
        finally:
            self._lock.release()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Process:
    """One run of the program, with a thread that reads its lines."""

    def __init__(self, program: str) -> None:
        folder = tempfile.TemporaryDirectory(prefix="ckpt-viewer-")
        root = str(Path(__file__).resolve().parent.parent)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", program, root],
                cwd=folder.name,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("CKPT_VIEWER_DEBUG") else subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            folder.cleanup()
            raise CheckpointError(f"the worker process cannot be started ({error.strerror}); install again") from error
        self.pid = self._popen.pid
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=_read_lines, args=(self._popen.stdout, self._lines), name="worker answers", daemon=True
        )
        self._reader.start()
        self._end = weakref.finalize(self, _end, self._popen, self._reader, folder)

    def ask(self, request: dict[str, Any], timeout: float, waiting: Callable[[], None] | None = None) -> dict[str, Any]:
        """Send one request and return the answer to it; raises CheckpointError, and what `waiting` does."""
        assert self._popen.stdin is not None
        try:
            for piece in encoded(request):
                self._popen.stdin.write(piece)
                if waiting is not None:
                    waiting()
            self._popen.stdin.write(b"\n")
            self._popen.stdin.flush()
            line = self._next_line(timeout, waiting)
        except queue.Empty:
            raise CheckpointError(f"the worker process gave no answer within {timeout:g} s; try again") from None
        except OSError:
            line = b""
        if not line:
            raise CheckpointError(f"the worker process ended unexpectedly ({self._cause()}); try again")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or answer.get("id") != request["id"]:
            raise CheckpointError("the worker process gave an answer that makes no sense; try again")
        return answer

    def _next_line(self, timeout: float, waiting: Callable[[], None] | None) -> bytes:
        if waiting is None:
            return self._lines.get(timeout=timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                return self._lines.get(timeout=LOOK_UP)
            except queue.Empty:
                if time.monotonic() > end:
                    raise
                waiting()

    def _cause(self) -> str:
        try:
            code = self._popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self, patience: float) -> None:
        """End the process: give it `patience` seconds to do so by itself."""
        if patience and self._popen.stdin is not None:
            try:
                self._popen.stdin.close()  # it ends when nothing more can come
                self._popen.wait(patience)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self._end()


def encoded(value: Any) -> Iterator[bytes]:
    """Yield a value as JSON, long lists a few members at a time: `json.dumps` of 100,000 holds the GIL for 0.3 s."""
    if isinstance(value, dict):
        for number, (key, member) in enumerate(value.items()):
            yield f"{', ' if number else '{'}{json.dumps(key)}: ".encode()
            yield from encoded(member)
        yield b"}" if value else b"{}"
    elif isinstance(value, list) and len(value) > MEMBERS:
        for start in range(0, len(value), MEMBERS):
            yield f"{', ' if start else '['}{json.dumps(value[start : start + MEMBERS])[1:-1]}".encode()
        yield b"]"
    else:
        yield json.dumps(value).encode()


def _read_lines(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Put each line of `stream` into `lines`, and an empty one at its end."""
    while True:
        try:
            line = stream.readline(LONGEST)
        except (OSError, ValueError):
            line = b""
        lines.put(line)
        if not line:
            return


def _end(process: subprocess.Popen[bytes], reader: threading.Thread, folder: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.wait()
    reader.join()
    for stream in (process.stdin, process.stdout):
        try:
            if stream is not None:
                stream.close()
        except OSError:  # unsent bytes for a process that is gone
            pass
    folder.cleanup()
