"""Machine code for the kernels, compiled once for all tests; tests of numbers run with it and in numpy."""

from __future__ import annotations

import fcntl
import json
import os

import pytest

from ckpt_viewer.stats import kernels
from ckpt_viewer.stats.native import Native
from ckpt_viewer.stats.native_source import compile_kernels


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """What the worker process answers; the first of several test processes compiles."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels.json"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            part = shared.with_suffix(".part")
            part.write_text(json.dumps(compile_kernels()))
            part.replace(shared)
    answer = json.loads(shared.read_text())
    assert set(answer) == {"object", "names"}
    return answer


@pytest.fixture(scope="session")
def native(compiled):
    """The kernels as machine code."""
    return Native(compiled)


@pytest.fixture(scope="module", params=["numpy", "machine code"])
def each_way(request):
    """Count in numpy, then the same tests again with machine code."""
    if request.param == "numpy":
        kernels.use(None)
    else:
        kernels.use(request.getfixturevalue("native"))
    yield request.param
    kernels.use(None)
