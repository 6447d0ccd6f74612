"""kill -9 at any moment: the old file or the whole new one, and a leftover that is recognised."""

import os
import subprocess
import sys
from pathlib import Path

import builders
import pytest
import torch

pytestmark = [pytest.mark.torch, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
ROOT = Path(__file__).resolve().parents[2]

LOOP = """
import os, random, signal, sys, time
from pathlib import Path
import ckpt_viewer
from ckpt_viewer.export.leftovers import find_leftovers, remove_leftovers
from ckpt_viewer.export.plan import plan_export, plan_remap, plan_slim, write

planners = {
    "remap": lambda checkpoint: plan_remap(checkpoint, "cpu"), "slim": plan_slim,
    "export": lambda checkpoint: plan_export(checkpoint, "/model"),
}
source, folder, times, plan = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), planners[sys.argv[4]]
target = folder / "out.pth"
old = b"precious" * 1000

def child(force):
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        write(plan(checkpoint), target, force=force)

start = time.perf_counter()
child(True)
whole, longest = target.read_bytes(), time.perf_counter() - start
random.seed(5)
outcomes = {"old": 0, "new": 0, "nothing": 0, "leftover": 0}
for number in range(times):
    force = number % 2 == 0
    if force:
        target.write_bytes(old)
    else:
        target.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            child(force)
        finally:
            os._exit(0)
    time.sleep(random.uniform(0, 1.3 * longest))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    data = target.read_bytes() if target.exists() else None
    assert data == whole or data == (old if force else None), (number, data and len(data))
    outcomes["new" if data == whole else "old" if force else "nothing"] += 1
    left = find_leftovers(folder)
    assert len(left) == len(list(folder.iterdir())) - (data is not None), (number, list(folder.iterdir()))
    outcomes["leftover"] += len(left)
    assert remove_leftovers(left) == left
print(outcomes)
"""


@pytest.mark.parametrize(("what", "times"), [("remap", 200), ("slim", 70), ("export", 70)])
def test_kill_9_at_random_moments(tmp_path, what, times):
    model = {f"w{n}": torch.randn(300_000) for n in range(4)}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], momentum=0.9).state_dict()
    source = builders.save({"model": model, "optimizer": optimizer}, tmp_path / "x.pth", tag="cuda:1")
    folder = tmp_path / "out"
    folder.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOOP, str(source), str(folder), str(times), what]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = eval(done.stdout)
    assert outcomes["old"] + outcomes["new"] + outcomes["nothing"] == times
    assert min(outcomes.values()) > 0, outcomes  # every kind of moment was met
