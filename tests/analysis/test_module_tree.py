"""Whole modules as trees, held against what torch itself says of them."""

from __future__ import annotations

import sys
import zipfile

import pytest
import torch
from builders import save
from torch import nn

from ckpt_viewer.analysis.module_tree import (
    ATTRIBUTE,
    BUFFER,
    MODULE,
    PARAMETER,
    ModuleTree,
    module_tree,
)
from ckpt_viewer.cli import main
from ckpt_viewer.core.model import is_whole_module
from ckpt_viewer.formats import open_checkpoint


class Net(nn.Module):
    """A module of a class that a reader of its file does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(2)])
        self.head = self.blocks[0][0]  # a second name
        self.scale = nn.Parameter(torch.ones(1))
        self.unused = nn.Parameter(torch.ones(1))
        self.unused = None
        self.register_buffer("kept", torch.zeros(2))
        self.register_buffer("mask", torch.ones(5), persistent=False)
        self.loose = torch.zeros(3)
        self.width, self.name = 4, "net"


def hook(*_: object) -> None:
    raise AssertionError("nothing of the file is run")


class Hooks:
    """Whose method is hooked to a module."""

    def method(self, *_: object) -> None:
        raise AssertionError("nothing of the file is run")


def made() -> Net:
    net = Net()
    net.stem.register_forward_hook(hook)
    net.stem.register_forward_pre_hook(Hooks().method)
    net.blocks[1].eval()
    return net


def tree_of(value, tmp_path, pointer="", **options) -> ModuleTree:
    with open_checkpoint(save(value, tmp_path / "m.pth", **options)) as checkpoint:
        row = checkpoint.outline.find(checkpoint[pointer].path)
        return module_tree(checkpoint.outline, row)


def names(tree: ModuleTree) -> list[str]:
    """The dotted names of all lines."""
    found: list[str] = []
    for line in tree.lines:
        above = found[line.parent] if line.parent >= 0 else ""
        found.append(f"{above}.{line.name}".strip("."))
    return found


@pytest.mark.parametrize("legacy", [False, True])
def test_modules_parameters_and_buffers_are_those_that_torch_names(tmp_path, legacy):
    net = made()
    tree = tree_of(net, tmp_path, legacy=legacy)
    kinds = dict(zip(names(tree), tree.lines, strict=True))
    assert [name for name, line in kinds.items() if line.kind == MODULE] == [
        name for name, _ in net.named_modules(remove_duplicate=False)
    ]
    expected = {name for name, _ in net.named_parameters()}
    assert {name for name, line in kinds.items() if line.kind == PARAMETER} == expected
    assert {name for name, line in kinds.items() if line.kind == BUFFER} == {name for name, _ in net.named_buffers()}
    assert [name for name, line in kinds.items() if line.kind == ATTRIBUTE] == ["loose"]
    assert [name for name, line in kinds.items() if not line.saved] == ["mask", "loose"]
    modes = {name: line.training for name, line in kinds.items() if line.kind == MODULE}
    assert modes == {name: module.training for name, module in net.named_modules(remove_duplicate=False)}
    assert tree.parameters[0] == sum(each.numel() for each in net.parameters())
    assert tree.buffers[0] == sum(each.numel() for each in net.buffers())
    assert tree.modules == len(list(net.modules()))
    assert tree.foreign == (f"{Net.__module__}.Net",)


def test_a_second_name_says_so(tmp_path):
    tree = tree_of(made(), tmp_path)
    head = next(line for line in tree.lines if line.name == "head")
    first = tree.lines[names(tree).index("blocks.0.0")]
    assert head.same_as == first.row


def test_hooks_are_named_and_not_run(tmp_path):
    tree = tree_of(made(), tmp_path)
    stem = next(line for line in tree.lines if line.name == "stem")
    module = Net.__module__
    assert stem.hooks == (f"forward hook {module}.hook", f"forward pre-hook {module}.Hooks.method")
    assert tree.hooks == 2


def test_what_a_module_was_made_with(tmp_path):
    tree = tree_of(made(), tmp_path)
    assert tree.lines[0].settings == "width=4, name='net'"
    stem = next(line for line in tree.lines if line.name == "stem")
    assert "in_channels=3, out_channels=4, kernel_size=(3, 3)" in stem.settings


def test_a_part_of_a_module_is_a_module(tmp_path):
    tree = tree_of({"net": made(), "epoch": 3}, tmp_path, "/net/_modules/blocks")
    assert tree.lines[0].type == "torch.nn.modules.container.ModuleList"
    assert names(tree)[:4] == ["", "0", "0.0", "0.0.weight"]


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_module(tmp_path):
    value = nn.Sequential(nn.Linear(2, 2))
    tree = tree_of(torch.compile(value), tmp_path)
    assert names(tree) == ["", "_orig_mod", "_orig_mod.0", "_orig_mod.0.weight", "_orig_mod.0.bias"]


def test_a_module_that_contains_itself_ends(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2))
    net._modules["again"] = net
    tree = tree_of(net, tmp_path)
    assert names(tree) == ["", "0", "0.weight", "0.bias", "again"]
    assert tree.lines[-1].same_as == tree.lines[0].row


@pytest.mark.filterwarnings("ignore")
def test_quantised_layers_show_their_packed_weights(tmp_path):
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear})
    tree = tree_of(net, tmp_path)
    assert any(line.kind == BUFFER and line.tensor is not None and line.tensor.shape == (3, 4) for line in tree.lines)


def test_show_prints_the_tree(tmp_path, capsys):
    path = str(save({"net": made()}, tmp_path / "m.pth"))
    assert main(["show", path, "/net"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{Net.__module__}.Net, a whole module: 9 modules, ")
    assert "  mask  5 float32  buffer, in no state_dict" in lines
    assert "  head  torch.nn.modules.linear.Linear, the same as an earlier one" in lines
    assert any(line.startswith("note: if ") for line in lines)


@pytest.mark.parametrize("module", ["linear", "container"])
def test_old_files_hold_the_text_of_each_class(tmp_path, module):
    tree = tree_of(nn.Sequential(nn.Linear(2, 2)), tmp_path, legacy=True)
    name = {"linear": "Linear", "container": "Sequential"}[module]
    source = tree.sources[f"torch.nn.modules.{module}.{name}"]
    assert source.file == sys.modules[f"torch.nn.modules.{module}"].__file__
    assert source.text.startswith(f"class {name}(")


def test_new_files_hold_no_text(tmp_path):
    assert tree_of(nn.Linear(2, 2), tmp_path).sources == {}


class Scripted(nn.Module):
    """A module for TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.register_buffer("run", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(x)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_has_its_program_beside_it(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(Scripted().eval()).save(str(path))
    with open_checkpoint(path) as checkpoint:
        tree = module_tree(checkpoint.outline, 0)
    assert names(tree) == ["", "run", "lin", "lin.weight", "lin.bias"]
    assert [line.kind for line in tree.lines] == [MODULE, BUFFER, MODULE, PARAMETER, PARAMETER]
    assert tree.lines[0].training is False
    assert tree.foreign == ()
    source = tree.sources[tree.lines[0].type]
    assert source.file.startswith("code/__torch__/")
    assert "class Scripted(Module):" in source.text


@pytest.mark.filterwarnings("ignore")
def test_torch_package_has_the_sources_of_its_classes(tmp_path):
    folder = tmp_path / "acme_nets"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "net.py").write_text(
        "from torch import nn\nclass Tiny(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.lin = nn.Linear(2, 2)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        from acme_nets.net import Tiny
        from torch.package import PackageExporter

        with PackageExporter(str(tmp_path / "p.pt")) as exporter:
            exporter.intern("acme_nets.**")
            exporter.extern(["torch.**", "collections", "builtins"])
            exporter.save_pickle("model", "model.pkl", Tiny())
    for name in [each for each in sys.modules if each.startswith("acme_nets")]:
        del sys.modules[name]
    with open_checkpoint(tmp_path / "p.pt") as checkpoint:
        assert zipfile.is_zipfile(tmp_path / "p.pt")
        row = checkpoint.outline.find(("model/model.pkl",))
        assert is_whole_module(checkpoint.outline.values[row])
        tree = module_tree(checkpoint.outline, row)
    assert tree.sources["acme_nets.net.Tiny"].file == "acme_nets/net.py"
    assert tree.foreign == ("acme_nets.net.Tiny",)
