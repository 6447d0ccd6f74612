"""The state_dict of a pickled nn.Module, derived without its class, against the one that torch gives."""

import builders
import pytest
import torch
from torch import nn

import ckpt_viewer
from ckpt_viewer.core.module import state_dict_entries
from ckpt_viewer.core.value import Global, Instance, Mapping
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.plan import plan_export, write

pytestmark = pytest.mark.torch


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.shared = nn.Linear(3, 3)
        self.again = self.shared


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.arange(4))
        self.register_buffer("left_out", torch.arange(5), persistent=False)
        self.register_buffer("nothing", None)
        self.register_parameter("absent", None)
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.missing = None
        self.plain_attribute = torch.randn(9)
        self.bias = nn.Parameter(torch.randn(2), requires_grad=False)


class OrderOfRegistration(nn.Module):
    """Children before parameters, and a name that is registered again."""

    def __init__(self):
        super().__init__()
        self.child = nn.Linear(2, 2)
        self.last = nn.Parameter(torch.zeros(1))
        self.register_buffer("middle", torch.zeros(2))
        self.first = nn.Parameter(torch.ones(1))
        self.child = nn.Conv1d(1, 1, 1)


class ViewsOfOneTensor(nn.Module):
    def __init__(self):
        super().__init__()
        flat = torch.randn(24)
        self.a = nn.Parameter(flat[:12].view(3, 4))
        self.b = nn.Parameter(flat[12:].view(4, 3).t())


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))


def strided():
    net = nn.Conv2d(3, 4, 3)
    return net.to(memory_format=torch.channels_last)


MODULES = {
    "linear": lambda: nn.Linear(3, 2),
    "conv and batch norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
    "norm without statistics": lambda: nn.Sequential(
        nn.BatchNorm1d(4, affine=False, track_running_stats=False), nn.PReLU()
    ),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "lstm": lambda: nn.LSTM(4, 5, num_layers=2, bidirectional=True, proj_size=3),
    "gru": lambda: nn.GRU(4, 5, batch_first=True),
    "attention": lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=6, add_bias_kv=True),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "tied": Tied,
    "buffers": Buffers,
    "order": OrderOfRegistration,
    "views": ViewsOfOneTensor,
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.Linear(2, 2))),
    "lists and dicts": lambda: nn.ModuleDict(
        {"z": nn.ModuleList([nn.Linear(1, 1), nn.ParameterList([torch.zeros(2), torch.ones(1)])]),
         "a": nn.ParameterDict({"y": torch.zeros(3), "x": torch.ones(1)})}
    ),
    "old weight norm": old_weight_norm,
    "old spectral norm": lambda: nn.utils.spectral_norm(nn.Linear(4, 3)),
    "embedding bag": lambda: nn.EmbeddingBag(5, 3, mode="sum"),
    "half": lambda: nn.Sequential(nn.Linear(3, 3).half(), nn.Linear(2, 2).bfloat16(), nn.Linear(1, 1).double()),
    "channels last": strided,
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
    "prelu": nn.PReLU,
    "deep names": lambda: nn.Sequential(*[nn.Sequential(nn.Sequential(nn.Linear(1, 1))) for _ in range(12)]),
}  # fmt: skip


def test_a_module_without_tensors_is_refused(tmp_path):
    source = builders.save(nn.BatchNorm1d(4, affine=False, track_running_stats=False), tmp_path / "net.pt")
    with (
        ckpt_viewer.open_checkpoint(source) as checkpoint,
        pytest.raises(CannotExport, match="no tensor in what was chosen"),
    ):
        plan_export(checkpoint)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_by_compile(tmp_path):
    net = torch.compile(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    compare(net, tmp_path)
    inside = tmp_path / "inside"
    inside.mkdir()
    compare(nn.ModuleDict({"inner": torch.compile(nn.Linear(2, 3)), "after": nn.Linear(1, 1)}), inside)


def log(*args):
    """A hook, which is pickled by its name."""


def test_hooks_and_lazy_parameters(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3))
    net[0].register_forward_hook(log)
    source = builders.save(net, tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        entries = state_dict_entries(checkpoint.root.value)
        assert entries.names == list(net.state_dict())
        assert entries.notes == []
        assert entries.entries[-1].tensor.shape is None
        with pytest.raises(CannotExport, match=r"1\.weight"):
            plan_export(checkpoint)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_equals_torchs_own(name, legacy, tmp_path):
    compare(MODULES[name](), tmp_path, legacy)


@pytest.mark.parametrize("key", ["model", "ema"])
def test_inside_a_checkpoint(key, tmp_path):
    compare(Tied(), tmp_path, key=key)


def compare(module, folder, legacy=False, key=None):
    torch.manual_seed(1)
    wanted = module.state_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # about source text that cannot be had
        source = builders.save(
            {key: module, "epoch": 1} if key else module, folder / "net.pt", legacy=legacy, tag="cuda:0"
        )
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        written = write(plan_export(checkpoint), folder / "out.pth")
    got = torch.load(written.path, weights_only=True)
    assert list(got) == list(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(got[name], tensor), name
        assert got[name].dtype == tensor.dtype
        assert got[name].stride() == tensor.stride()
        assert not got[name].requires_grad
        assert type(got[name]) is torch.Tensor
    assert sharing(got) == sharing(wanted)
    module.load_state_dict(got, strict=True)


def sharing(state):
    """For each name the first name on the same memory."""
    first = {}
    return [first.setdefault(tensor.untyped_storage().data_ptr() if tensor.numel() else name, name)
            for name, tensor in state.items()]  # fmt: skip


def module(**children):
    """A pickled nn.Module without torch: what its class would have set is in its state."""
    made = Instance(Global("a", "Net"), (), new=True)
    made.state = Mapping()
    for name, pairs in (("_parameters", {}), ("_buffers", {}), ("_modules", children)):
        group = Mapping()
        group.pairs = [part for pair in pairs.items() for part in pair]
        made.state.pairs += [name, group]
    return made


def test_modules_that_share_children_without_end():
    made = module()
    for _ in range(60):
        made = module(a=made, b=made)
    entries = state_dict_entries(made)
    assert entries.notes[0] == "the module has more entries than the 1000000 that are shown"


def test_modules_that_are_too_deep():
    made = module()
    for _ in range(5000):
        made = module(a=made)
    note, _ = state_dict_entries(made).notes
    assert "is more than 200 modules deep; its names end there" in note


def test_a_module_inside_itself():
    made = module()
    made.state.get("_modules").pairs += ["me", made]
    assert state_dict_entries(made).notes[0] == "me contains itself; its names end there"


def test_extra_state_that_only_code_can_make_is_said_to_be_missing(tmp_path):
    """FORMATS 3.5: whether a class overrides get_extra_state, no structure tells; torch's own modules do not."""
    entries = state_dict_entries(module(a=module()))
    (note,) = entries.notes
    assert note.startswith(
        "if a.Net keeps extra state (get_extra_state), the entries for it (_extra_state) are missing"
    )
    source = builders.save(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)), tmp_path / "net.pt")
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        assert state_dict_entries(checkpoint.root.value).notes == []
