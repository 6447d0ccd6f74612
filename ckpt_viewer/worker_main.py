"""What the worker process runs: it limits itself, then answers one line of JSON with one line of JSON until the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ckpt_viewer.errors import CheckpointError

if TYPE_CHECKING:
    from ckpt_viewer.torch_bridge.proof import Proof

MEMORY = 8 << 30
"""Bytes of memory beyond what a request's file maps."""
SECONDS = 120
"""CPU time for a request, beyond one second for each `BYTES_A_SECOND` of its file."""
BYTES_A_SECOND = 20_000_000
NICE = 5
WRITTEN = 1 << 20
"""Bytes that any file may grow to: the worker has nothing to write."""


def main() -> None:
    """Answer requests from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get among the answers
    _limit_once()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            answer["result"] = METHODS[request["method"]](**request["params"])
        except CheckpointError as error:
            answer["error"] = str(error)
        except ImportError as error:
            library = "safetensors" if error.name == "safetensors" else "torch"
            answer["error"] = f"{library} cannot be used ({error}); install it again"
        except Exception as error:
            answer["error"] = f"the worker process failed ({type(error).__name__}: {error}); please report it"
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _limit_once() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    _set_soft(resource.RLIMIT_CORE, 0)
    _set_soft(resource.RLIMIT_FSIZE, WRITTEN)
    allow(0)


def allow(nbytes: int) -> None:
    """Allow the CPU time and memory that work on a file of `nbytes` takes, from now on."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    _set_soft(resource.RLIMIT_CPU, spent + SECONDS + nbytes // BYTES_A_SECOND)
    _set_soft(resource.RLIMIT_DATA, MEMORY + 2 * nbytes)


def _set_soft(limit: int, value: int) -> None:
    import resource

    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, hard))


def devices() -> list[str]:
    """Return the tags of torch's devices here."""
    return [each["tag"] for each in device_info()]


def device_info() -> list[dict[str, Any]]:
    """Return torch's devices here with name and memory."""
    allow(0)
    from ckpt_viewer import torch_bridge

    return [each._asdict() for each in torch_bridge.devices()]


def load_errors(tags: list[str]) -> dict[str, str]:
    """Return what torch.load would say for each tag."""
    allow(0)
    from ckpt_viewer import torch_bridge

    return {tag: torch_bridge.load_error(tag) for tag in tags}


def load_copy(path: str, **request: Any) -> dict[str, Any]:
    """Load a file that was written, and compare all but its bytes; see `torch_bridge.proof.Proof`."""
    try:
        nbytes = os.stat(path).st_size  # noqa: PTH116
    except OSError as error:
        raise CheckpointError(f"the file cannot be read ({error.strerror})") from error
    allow(nbytes)
    from ckpt_viewer.torch_bridge.proof import Proof

    _proofs[:] = [Proof(path, **request)]
    return _proofs[0].verdict._asdict()


def compare_blocks(pieces: list[list[Any]]) -> str:
    """Compare bytes with those of the file that `load_copy` has loaded; see `Proof.compare`."""
    return _proofs[0].compare(pieces)


def compile_kernels() -> dict[str, Any]:
    """Return machine code for the kernels of the statistics; see `stats.native_source`."""
    allow(0)
    if hasattr(os, "nice"):
        os.nice(NICE)  # whoever asked goes on counting in numpy meanwhile
    try:
        from ckpt_viewer.stats import native_source
    except ImportError as error:
        raise CheckpointError(f"numba cannot be used ({error}); install it again") from error
    return native_source.compile_kernels()


def count(device: str, **request: Any) -> dict[str, Any]:
    """Count a block of values on a device; see `stats.remote`."""
    allow(0)
    from ckpt_viewer.stats.remote import serve
    from ckpt_viewer.torch_bridge.counting import TorchKernels

    return serve(TorchKernels(device), **request)


def lr_curve(state: dict[str, Any], groups: list[dict[str, float]], until: int) -> dict[str, Any]:
    """Return the learning rates of every epoch; see `torch_bridge.schedules.lr_curve`."""
    allow(0)
    from ckpt_viewer.torch_bridge import schedules

    return schedules.lr_curve(state, groups, until)


_proofs: list[Proof] = []
"""The file under proof, if any."""
METHODS: dict[str, Callable[..., Any]] = {
    "devices": devices,
    "device_info": device_info,
    "load_errors": load_errors,
    "load_copy": load_copy,
    "compare_blocks": compare_blocks,
    "compile_kernels": compile_kernels,
    "lr_curve": lr_curve,
    "count": count,
}
