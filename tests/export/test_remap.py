"""The whole checkpoint with other device tags, judged by torch."""

import torch
from writer_contract import WriterContract, checkpoint_value

from ckpt_viewer.export.plan import plan_remap


class TestContract(WriterContract):
    arguments = ("remap", "--map-location", "cpu")

    def plan(self, checkpoint):
        return plan_remap(checkpoint, "cpu")

    def check(self, source, target):
        wanted, got = checkpoint_value(), torch.load(target, weights_only=True)
        assert list(got) == list(wanted)
        assert got["epoch"] == 3
        assert list(got["model"]) == list(wanted["model"])
        assert all(torch.equal(got["model"][name], wanted["model"][name]) for name in wanted["model"])
        storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in got["model"].items()}
        assert storages["base.weight"] == storages["view.weight"] != storages["n.weight"]
