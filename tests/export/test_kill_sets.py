"""kill -9 at every step of putting a set in place: clearing what is left gives the old set or the new one, whole."""

import os
import signal

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.export.choice import Choice
from ckpt_viewer.export.leftovers import OLD, find_leftovers, leftovers_text, remove_leftovers
from ckpt_viewer.export.plan import plan_export, write

pytestmark = [pytest.mark.torch, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
STEPS = ("link", "unlink", "replace", "rename")


def export(source, target):
    choice = Choice(("",), format="safetensors", max_shard_size=5000)
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        write(plan_export(checkpoint, choice), target, force=True, verify=False)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed_at(step, source, target):
    """Export in a child that is killed before its n-th change of a name; return whether it came that far."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def dying(real):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        try:
            for name in STEPS:
                setattr(os, name, dying(getattr(os, name)))
            export(source, target)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.fixture(params=["links", "no links"])
def folder(tmp_path, request, monkeypatch):
    if request.param == "no links":

        def link(*_):
            raise OSError(1, "not here")

        monkeypatch.setattr(os, "link", link)
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_the_old_set_or_the_new_one(tmp_path, folder):
    before = {f"w{number}": torch.full((1000,), 1.0) for number in range(3)}
    one = builders.save(before, tmp_path / "one.pth")
    other = builders.save({name: tensor + 1 for name, tensor in before.items()}, tmp_path / "other.pth")
    target = folder / "m.safetensors"
    export(other, target)
    new = contents(folder)
    assert len(new) == 4
    outcomes = []
    for step in range(1000):
        export(one, target)
        old = contents(folder)
        assert old.keys() == new.keys()
        assert old != new
        went_on = not killed_at(step, other, target)
        if went_on:
            break
        shown = {name: data for name, data in contents(folder).items() if name in new}
        assert "m.safetensors.index.json" not in shown or shown in (old, new)
        found = find_leftovers(folder)
        assert len(found) == len(contents(folder).keys() - new.keys())
        assert remove_leftovers(found) == found
        assert contents(folder) in (old, new), (step, leftovers_text(found))
        outcomes.append((contents(folder) == new, any(each.path.name.endswith(OLD) for each in found)))
    assert set(outcomes) == {(False, False), (False, True), (True, True)}  # every kind of moment was met
    assert contents(folder) == new
    assert len(outcomes) > 10
