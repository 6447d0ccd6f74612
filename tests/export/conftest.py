"""Fixtures of the writers' tests."""

import builders
import pytest
import torch

import ckpt_viewer
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.plan import plan_export, write


@pytest.fixture
def export(tmp_path):
    """Save an object, export its model; return what torch loads, and the report."""

    def export(value, model=None, *, legacy=False, path=None):
        source = path or builders.save(value, tmp_path / "x.pth", legacy=legacy, tag="cuda:1")
        with ckpt_viewer.open_checkpoint(source) as checkpoint:
            written = write(plan_export(checkpoint, model), tmp_path / "out.pth")
        assert written.verified
        return torch.load(written.path, weights_only=True), written

    return export


@pytest.fixture
def refusal(tmp_path):
    """Save an object, try to export it, and return why that is refused."""

    def refusal(value, model=None, path=None):
        source = path or builders.save(value, tmp_path / "x.pth", tag="cuda:1")
        with ckpt_viewer.open_checkpoint(source) as checkpoint, pytest.raises(CannotExport) as error:
            plan_export(checkpoint, model)
        return str(error.value)

    return refusal
