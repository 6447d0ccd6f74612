"""Where a file would load, against torch.load itself in a process of its own: files x forms of map_location."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from builders import mapped, pickled, save, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.analysis.safety import allowance
from ckpt_viewer.analysis.where import where, where_json
from ckpt_viewer.core.location import leave_on_cpu
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.formats import open_checkpoint

FILES: dict[str, tuple[Any, dict[str, Any]]] = {
    "cpu": (lambda: {"w": torch.rand(3)}, {}),
    "cuda": (lambda: {"w": torch.rand(3), "b": torch.rand(2)}, {"tag": "cuda:1"}),
    "cuda legacy": (lambda: {"w": torch.rand(3)}, {"tag": "cuda:1", "legacy": True}),
    "two tags": (lambda: {"w": torch.rand(3), "b": torch.rand(2)}, {"tag": lambda n: ("cpu", "xpu:0")[n]}),
    "mps": (lambda: {"w": torch.rand(3, dtype=torch.float64)}, {"tag": "mps"}),
    "hpu": (lambda: [torch.rand(3)], {"tag": "hpu"}),
    "unknown": (lambda: [torch.rand(3)], {"tag": "gpu"}),
    "meta": (lambda: {"m": torch.empty(3, device="meta"), "w": torch.rand(2)}, {}),
    "sparse": (lambda: {"s": torch.eye(3).to_sparse(), "w": torch.rand(2)}, {"tag": "cuda:0"}),
    "quantised": (lambda: {"q": torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.quint8)}, {}),
    "channels": (lambda: {"q": torch.quantize_per_channel(torch.rand(3, 2), torch.ones(3), torch.zeros(3), 0,
                                                          torch.qint8)}, {}),
    "nested": (lambda: {"n": torch.nested.nested_tensor([torch.rand(2), torch.rand(3)])}, {}),
}  # fmt: skip
FORMS: dict[str, Any] = {
    "None": None, "cpu": "cpu", "cuda:0": "cuda:0", "meta": "meta", "gpu": "gpu", "cpu:0": "cpu:0", "mps": "mps",
    "xpu": "xpu",
    "dict": {"cuda:1": "cpu", "xpu:0": "cpu", "mps": "cpu", "hpu": "cpu", "gpu": "cpu"},
    "dict of other names": {"cuda": "cpu"}, "dict onto nothing": {"cpu": "cuda:7"},
    "device cpu": torch.device("cpu"), "device cpu:0": torch.device("cpu", 0), "device cuda": torch.device("cuda:0"),
    "device meta": torch.device("meta"), "callable": leave_on_cpu,
    "callable that leaves it": lambda storage, tag: None, "callable that gives a name": lambda storage, tag: "cpu",
}  # fmt: skip
PROGRAM = """
import json, sys, warnings
import torch
warnings.simplefilter("ignore")
forms = {
    "callable": lambda storage, tag: storage, "callable that leaves it": lambda storage, tag: None,
    "callable that gives a name": lambda storage, tag: "cpu", "device cpu": torch.device("cpu"),
    "device cpu:0": torch.device("cpu", 0), "device cuda": torch.device("cuda:0"), "device meta": torch.device("meta"),
}
answers = {}
for path, form, given in json.load(sys.stdin):
    try:
        torch.load(path, map_location=forms.get(form, given), weights_only=True)
        answers[path + "|" + form] = ""
    except Exception as error:
        answers[path + "|" + form] = f"{type(error).__name__}: {error}"
print(json.dumps([answers, torch.cuda.device_count(), torch.backends.mps.is_available()]))
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What torch.load answers for every file and form, and which devices there are."""
    folder = tmp_path_factory.mktemp("where")
    paths = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised and nested tensors are prototypes, or deprecated
        for name, (make, options) in FILES.items():
            paths[name] = str(save(make(), folder / f"{name.replace(' ', '_')}.pth", **options))
    plain = [(path, form, given if isinstance(given, str | dict) else None)
             for path in paths.values() for form, given in FORMS.items()]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM], input=json.dumps(plain), capture_output=True, text=True, check=True
    )
    answers, cuda, mps = json.loads(done.stdout)
    return paths, answers, ["cpu", *(f"cuda:{n}" for n in range(cuda)), *(["mps"] if mps else [])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FILES)
def test_torch_load_does_what_was_said(asked, name, form):
    paths, answers, devices = asked
    theirs = answers[f"{paths[name]}|{form}"]
    try:
        with open_checkpoint(paths[name], FORMS[form]) as checkpoint:
            answer = where(checkpoint, devices)
            ours = answer.error
            document = where_json(checkpoint, answer)
    except BadMapLocation as error:
        ours = str(error)
        document = None
    assert bool(ours) == bool(theirs), f"{ours!r} for {theirs!r}"
    if form != "callable that gives a name":  # Python's own words, for which we have better ones
        assert ours in theirs
    if document is not None:
        json.dumps(document)
        assert document["loads"] is (not theirs)


def file_of(*tags: str) -> bytes:
    body = mapped(*((text(f"t{n}"), tensor((n + 1,), key=str(n), location=tag)) for n, tag in enumerate(tags)))
    return zip_checkpoint(pickled(body), {str(n): bytes(4 * n + 4) for n in range(len(tags))})


def test_the_table_says_how_much_is_where():
    answer = where(open_bytes(file_of("cuda:1", "cpu", "cuda:1", "mps"), {"mps": "cpu"}), ["cpu"])
    assert [(each.tag, each.device, each.nbytes, each.storages) for each in answer.places] == [
        ("cuda:1", "cuda:1", 16, 2), ("cpu", "cpu", 8, 1), ("mps", "cpu", 16, 1)
    ]  # fmt: skip
    assert "is_available() is False" in answer.places[0].message
    assert not answer.places[1].message


def test_machines_that_are_not_this_one():
    checkpoint = open_bytes(file_of("cuda:1"))
    assert not where(checkpoint, ["cpu", "cuda:0", "cuda:1"]).error
    assert "device_count() is 1" in where(checkpoint, ["cpu", "cuda:0"]).error
    assert not where(checkpoint, None).error


def test_what_a_mac_cannot_hold(tmp_path):
    value = {"d": torch.rand(2, dtype=torch.float64), "e": torch.rand(2, dtype=torch.float64), "f": torch.rand(2)}
    with open_checkpoint(save(value, tmp_path / "m.pth"), "mps") as checkpoint:
        answer = where(checkpoint, ["cpu", "mps"])
    assert [(each.what, each.device, each.tensors) for each in answer.unheld] == [("float64", "mps", 2)]
    assert "doesn't support float64" in answer.error


UNKNOWN_TO_MPS = [torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz,
                  torch.float8_e5m2fnuz, torch.float8_e8m0fnu]  # fmt: skip


@pytest.mark.parametrize("dtype", UNKNOWN_TO_MPS, ids=str)
def test_what_a_mac_holds_and_cannot_compute_with(tmp_path, dtype):
    """torch's own name of a dtype is in the error of any operation that does not know it."""
    with open_checkpoint(save({"w": torch.zeros(2).to(dtype)}, tmp_path / "m.pth"), "mps") as checkpoint:
        answer = where(checkpoint, ["cpu", "mps"])
    (each,) = answer.unheld
    assert (each.what, each.later, answer.error) == (str(dtype).removeprefix("torch."), True, "")
    assert where_json(checkpoint, answer)["loads"]
    with pytest.raises(NotImplementedError) as theirs:
        torch.zeros(2).to(dtype).median()
    assert f"'{each.message.split()[3]}'" in str(theirs.value)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.uint16, torch.int64, torch.complex64, torch.bool]
)
def test_what_a_mac_takes(tmp_path, dtype):
    with open_checkpoint(save({"w": torch.zeros(2).to(dtype)}, tmp_path / "m.pth"), "mps") as checkpoint:
        assert not where(checkpoint, ["cpu", "mps"]).unheld


def test_meta_tensors_stay_where_they_are(tmp_path):
    path = save({"m": torch.empty(3, device="meta")}, tmp_path / "m.pth")
    with open_checkpoint(path, "cuda:0") as checkpoint:
        (place,) = where(checkpoint, ["cpu"]).places
    assert (place.device, place.stays, place.storages, place.message) == ("meta", True, 0, "")


@pytest.mark.parametrize(("form", "words"), [({"cpu": "cpu"}, "dict map_location"), (leave_on_cpu, "callable")])
def test_safetensors_take_one_device(tmp_path, form, words):
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    save_file({"a": torch.rand(2)}, path)
    with open_checkpoint(path, form) as checkpoint:
        error = where(checkpoint, ["cpu"]).error
    assert words in error
    with pytest.raises(RuntimeError) as theirs:
        torch.load(path, map_location=form)
    assert str(theirs.value) == error


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_takes_no_table(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with open_checkpoint(path, {"cpu": "cpu"}) as checkpoint:
        error = where(checkpoint, ["cpu"]).error
    with pytest.raises(ValueError, match="map_location") as theirs:
        torch.jit.load(path, map_location={"cpu": "cpu"})
    assert str(theirs.value) == error


def test_what_safe_globals_would_need(tmp_path):
    from fractions import Fraction

    with open_checkpoint(save({"f": Fraction(1, 3), "w": torch.rand(2)}, tmp_path / "m.pth")) as checkpoint:
        needed = allowance(checkpoint)
    assert needed.names == ("fractions.Fraction",)
    assert needed.helps
    with torch.serialization.safe_globals([Fraction]):
        torch.load(tmp_path / "m.pth", weights_only=True)
    with open_checkpoint(save({"w": torch.rand(2)}, tmp_path / "n.pth")) as checkpoint:
        assert allowance(checkpoint) == ((), False, ())


def test_nobody_is_told_to_allow_what_is_dangerous():
    body = mapped((text("x"), b"cos\nsystem\n" + b"(" + text("true") + b"tR"))
    needed = allowance(open_bytes(zip_checkpoint(pickled(body))))
    assert not needed.helps
    assert needed.dangerous


class Call:
    """Pickled as the call of one of torch's rebuild functions."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, Any]:
        return self.function, self.arguments


REBUILT_FORMS = {"None": None, "cpu": "cpu", "cuda:0": "cuda:0", "cpu:0": "cpu:0", "dict of cpu": {"cpu": "cuda:0"},
                 "dict of xla": {"xla:0": "cpu"}, "callable": leave_on_cpu}  # fmt: skip


@pytest.mark.parametrize("form", REBUILT_FORMS.values(), ids=REBUILT_FORMS)
def test_a_tensor_that_is_made_anew_on_its_device(tmp_path, form):
    made = Call(torch._utils._rebuild_device_tensor_from_cpu_tensor, torch.rand(3), torch.float32, "xla:0", False)
    torch.save([made], tmp_path / "m.pth")
    with open_checkpoint(tmp_path / "m.pth", form) as checkpoint:
        error = where(checkpoint, ["cpu"]).error
    assert_torch_says(error, lambda: torch.load(tmp_path / "m.pth", map_location=form))


@pytest.mark.parametrize("form", [None, "cpu", "cuda:0", "mps", "gpu", "meta"], ids=str)
def test_a_storage_that_no_tensor_views(tmp_path, form):
    torch.save([torch.rand(3).untyped_storage()], tmp_path / "m.pth")
    with open_checkpoint(tmp_path / "m.pth", form) as checkpoint:
        answer = where(checkpoint, ["cpu"])
    assert (answer.places[0].nbytes, answer.places[0].storages) == (12, 1)
    assert_torch_says(answer.error, lambda: torch.load(tmp_path / "m.pth", map_location=form))


DEVICES = ["cpu", "cpu:0", "cpu:1", "cpu0", "cuda", "cuda:0", "cuda:x", "mps", "mps:0", "xpu", "xpu:3", "meta", "gpu",
           "CPU", "", "hpu", "hpu:0", "mtia", "mtia:0", "npu", "npu:1", "xla", "xla:0", "privateuseone:0", "vulkan",
           "mlu", "musa"]  # fmt: skip


def assert_torch_says(ours: str, load: Any) -> None:
    """A prediction is what is raised, as far as it goes, and nothing where nothing is."""
    theirs = ""
    try:
        load()
    except Exception as error:
        theirs = f"{type(error).__name__}: {error}"
    assert bool(ours) == bool(theirs), f"{ours!r} for {theirs!r}"
    assert ours in theirs


@pytest.mark.skipif(torch.cuda.is_available() or torch.mps.is_available(), reason="says what is so without any device")
@pytest.mark.parametrize("device", [*DEVICES, torch.device("cuda:1"), torch.device("cpu")], ids=repr)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_other_loaders_say(tmp_path, device):
    from safetensors.torch import save_file

    save_file({"a": torch.rand(2)}, tmp_path / "m.safetensors")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "m.pt")
    for name, load in (("m.safetensors", torch.load), ("m.pt", torch.jit.load)):
        with open_checkpoint(tmp_path / name, device) as checkpoint:
            error = where(checkpoint, ["cpu"]).error
        if not (name == "m.safetensors" and device == "cuda:x"):  # Rust's words for a number that is none
            assert_torch_says(error, lambda load=load, name=name: load(tmp_path / name, map_location=device))


@pytest.mark.skipif(torch.cuda.is_available() or torch.mps.is_available(), reason="says what is so without any device")
@pytest.mark.parametrize(
    "tag", ["cpu", "cuda:0", "xpu:0", "mps", "hpu:0", "mtia:0", "privateuseone:0", "xla:0", "meta", "gpu"]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_saved_elsewhere(tmp_path, tag):
    import zipfile

    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "here.pt")
    short, long = (b"X" + len(each).to_bytes(4, "little") + each.encode() for each in ("cpu", tag))
    with zipfile.ZipFile(tmp_path / "here.pt") as here, zipfile.ZipFile(tmp_path / "m.pt", "w") as there:
        for name in here.namelist():
            there.writestr(name, here.read(name).replace(short, long) if name.endswith("data.pkl") else here.read(name))
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        error = where(checkpoint, ["cpu"]).error
    assert_torch_says(error, lambda: torch.jit.load(tmp_path / "m.pt"))
