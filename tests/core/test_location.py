"""map_location: torch.load's own rules."""

from __future__ import annotations

import collections

import pytest
import torch
from builders import floats, mapped, pickled, save, tensor, text, zip_checkpoint
from opening import open_bytes

from ckpt_viewer.core.location import Locator, known_tag, leave_on_cpu, parse_map_location
from ckpt_viewer.core.tensor import StorageSpec
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.formats import open_checkpoint

TAGS = ("cuda:0", "cuda:1", "mps", "cpu", "hpu:3")


@pytest.fixture(scope="module")
def tagged_file(tmp_path_factory):
    given = {tag: torch.rand(2) for tag in TAGS}
    return save(given, tmp_path_factory.mktemp("tags") / "m.pth", tag=lambda number: TAGS[number])


def ours(path, map_location):
    with open_checkpoint(path, map_location) as checkpoint:
        return {node.name: node.device for node in checkpoint.root.children}


def theirs(path, map_location, monkeypatch):
    """The device that torch asks for; restoring itself is stood in for, since this machine has no such devices."""
    asked = {}
    order = iter(TAGS)

    def restore(storage, location):
        asked[next(order)] = location
        return storage

    monkeypatch.setattr(torch.serialization, "default_restore_location", restore)
    torch.load(path, map_location=map_location, weights_only=False)
    return asked


@pytest.mark.parametrize(
    "map_location",
    [
        None, "cpu", "cuda:1", "cuda", "nonsense", torch.device("cpu"), torch.device("cuda", 1),
        torch.device("cuda"), {}, {"cuda:0": "cpu"}, {"cuda": "cpu"},
        {"cuda:0": "cuda:1", "cuda:1": "cpu", "mps": "cpu"},
        {"cuda:0": "cuda:1", "cuda:1": "cuda:0"}, collections.OrderedDict({"cpu": "mps"}), {"elsewhere": "cpu"},
    ],
    ids=str,
)  # fmt: skip
def test_every_tag_becomes_what_torch_makes_of_it(tagged_file, map_location, monkeypatch):
    assert ours(tagged_file, map_location) == theirs(tagged_file, map_location, monkeypatch)


def test_everything_onto_meta(tagged_file):
    assert set(ours(tagged_file, "meta").values()) == {"meta"}
    loaded = torch.load(tagged_file, map_location="meta")
    assert {tensor.device.type for tensor in loaded.values()} == {"meta"}


def test_a_callable_that_returns_nothing_leaves_the_tag(tagged_file, monkeypatch):
    def nothing(storage, tag):
        return None

    assert ours(tagged_file, nothing) == theirs(tagged_file, nothing, monkeypatch)


def test_callables_of_every_form():
    data = zip_checkpoint(pickled(tensor(location="cuda:1")), {"0": floats(1, 2, 3, 4)})
    for call, expected in (
        (lambda storage, tag: storage, "cpu"),
        (leave_on_cpu, "cpu"),
        (lambda storage, tag: storage.cpu(), "cpu"),
        (lambda storage, tag: storage.cuda(), "cuda:0"),
        (lambda storage, tag: storage.cuda(3), "cuda:3"),
        (lambda storage, tag: None, "cuda:1"),
        (lambda storage, tag: storage.cuda(0) if tag == "cuda:1" else None, "cuda:0"),
    ):
        assert open_bytes(data, call).root.device == expected


def test_a_callable_is_called_once_for_each_storage_in_order():
    calls = []

    def record(storage, tag):
        calls.append((storage.key, tag))
        return storage

    body = mapped(*((text(name), tensor(key=key, location=tag)) for name, key, tag in (
        ("a", "1", "cuda:0"), ("b", "0", "mps"), ("c", "1", "cuda:0"))))  # fmt: skip
    checkpoint = open_bytes(zip_checkpoint(pickled(body), {"0": bytes(16), "1": bytes(16)}), record)
    assert [node.device for node in checkpoint.root.children] == ["cpu"] * 3
    assert [node.device for node in checkpoint.root.children] == ["cpu"] * 3
    assert calls == [("1", "cuda:0"), ("0", "mps")]


@pytest.mark.parametrize("answer", ["cpu", 0, torch.device("cpu"), b"cpu"])
def test_a_callable_must_return_a_storage_or_nothing(tagged_file, answer):
    with pytest.raises(BadMapLocation, match="return the storage"):
        ours(tagged_file, lambda storage, tag: answer)
    with pytest.raises((TypeError, AttributeError)):
        torch.load(tagged_file, map_location=lambda storage, tag: answer, weights_only=False)


@pytest.mark.parametrize("map_location", [0, b"cpu", 1.5, ["cpu"], {"cuda:0": torch.device("cpu")}, {"cuda:0": None}])
def test_what_torch_refuses_is_refused_at_once(tagged_file, map_location):
    with pytest.raises(BadMapLocation, match=r"map_location.*type"):
        Locator(map_location)
    with pytest.raises((TypeError, AttributeError)):
        torch.load(tagged_file, map_location=map_location, weights_only=False)


def test_a_key_of_a_table_that_is_no_string_is_refused():
    with pytest.raises(BadMapLocation):
        Locator({torch.device("cuda"): "cpu"})


def test_mapping_again_reads_nothing_again(tagged_file):
    with open_checkpoint(tagged_file) as checkpoint:
        node = checkpoint["/mps"]
        assert node.device == "mps"
        checkpoint.map_onto({"mps": "cuda:5"})
        assert node.device == "cuda:5"
        with pytest.raises(BadMapLocation):
            checkpoint.map_onto(5)
        assert node.device == "cuda:5"


def test_meta_tensors_stay_meta(tmp_path):
    path = save({"m": torch.zeros(2, device="meta")}, tmp_path / "m.pth")
    for map_location in (None, "cpu", "cuda:0", {"meta": "cpu"}):
        with open_checkpoint(path, map_location) as checkpoint:
            assert checkpoint["/m"].device == "meta"
    assert torch.load(path, map_location="cpu")["m"].device.type == "meta"


@pytest.mark.parametrize(
    ("tag", "known"),
    [("cpu", True), ("cuda", True), ("cuda:0", True), ("cuda:12", True), ("cuda1", True), ("mps", True),
     ("mps:0", True),
     ("meta", True), ("hpu:1", True), ("xpu", True), ("mtia:0", True), ("npu:0", True), ("cpu:0", False),
     ("CPU", False), ("", False), ("gpu", False), ("cudax", False), ("meta:0", False), ("cuda:x", False)],
)  # fmt: skip
def test_tags_that_some_torch_knows(tag, known):
    assert known_tag(tag) is known


@pytest.mark.parametrize("tag", ["cpu:0", "CPU", "", "gpu", "cudax", "meta:0"])
def test_tags_that_no_torch_knows_are_errors_in_torch(tmp_path, tag):
    path = save({"a": torch.rand(1)}, tmp_path / "m.pth", tag=tag)
    with pytest.raises(RuntimeError, match="don't know how to restore"):
        torch.load(path)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("as-saved", None), ("", None), ("cpu", "cpu"), ("cuda:3", "cuda:3"), ("mps", "mps"), ("meta", "meta"),
     ("cuda:1=cuda:0,cuda:2=cpu", {"cuda:1": "cuda:0", "cuda:2": "cpu"}), ("a=b=cpu", {"a=b": "cpu"}),
     ("cuda:0=cpu", {"cuda:0": "cpu"}), (" cuda:0 = cpu ", {"cuda:0": "cpu"})],
)  # fmt: skip
def test_specs_of_the_command_line(spec, expected):
    assert parse_map_location(spec) == expected


def test_the_word_storage_is_the_idiom():
    assert parse_map_location("storage") is leave_on_cpu


@pytest.mark.parametrize(
    "spec",
    [
        "gpu",
        "cpu:0",
        "cuda:1=",
        "=cpu",
        "cuda:1=cpu,",
        "cuda:1=cpu,,",
        "cuda:1=gpu",
        "cuda:1=cpu,cuda:1=mps",
        "CPU",
        " ",
    ],
)
def test_specs_that_mean_nothing(spec):
    with pytest.raises(BadMapLocation) as refused:
        parse_map_location(spec)
    assert ";" in str(refused.value)


@pytest.mark.parametrize(
    ("map_location", "text_", "code"),
    [
        (None, "as-saved", ""),
        ("cpu", "cpu", 'map_location="cpu"'),
        (torch.device("cuda", 1), "cuda:1", 'map_location="cuda:1"'),
        ({"cuda:1": "cpu"}, "cuda:1=cpu", 'map_location={"cuda:1": "cpu"}'),
        (leave_on_cpu, "storage", "map_location=lambda storage, location: storage"),
    ],
)
def test_a_map_location_as_text_and_as_code(map_location, text_, code):
    locator = Locator(map_location)
    assert (locator.text, locator.code) == (text_, code)
    if isinstance(map_location, str | dict | None):
        given = code.removeprefix("map_location=") or "None"
        assert eval(given) == map_location
        assert parse_map_location(locator.text) == map_location


def test_text_from_a_file_cannot_leave_its_quotes():
    evil = 'cpu"), __import__("os").system("x'
    assert eval(Locator({evil: "cpu"}).code.removeprefix("map_location=")) == {evil: "cpu"}


def test_a_storage_without_a_tag_is_on_the_cpu():
    storage = StorageSpec("0", None, "float32", 1, None)
    assert Locator(None).storage(storage) == "cpu"
    assert Locator({"cpu": "mps"}).storage(storage) == "mps"
