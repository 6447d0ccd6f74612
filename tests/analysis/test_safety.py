"""What a file names, where, and what torch's safe mode would say of it."""

from __future__ import annotations

import io
import sys

import pytest
from builders import (  # fmt: skip
    call,
    floats,
    get,
    integer,
    legacy_stream,
    listed,
    many,
    mapped,
    name,
    pickled,
    put,
    storage,
    tensor,
    text,
    zip_checkpoint,
)
from opening import open_bytes

from ckpt_viewer.analysis.safety import Verdict, globals_json, used_names, verdict
from ckpt_viewer.unpickle.weights_only import ALLOWED, VERSION

FOUR = {"0": floats(1, 2, 3, 4)}
SYSTEM = call(name("os", "system"), text("true"))


def listed_names(data: bytes) -> dict[str, dict]:
    return {use["name"]: use for use in globals_json(open_bytes(data))}


def test_every_name_has_its_calls_its_first_place_and_its_byte():
    pickle = pickled(mapped((text("a"), tensor(key="0")), (text("b"), SYSTEM), (text("c"), SYSTEM)))
    found = listed_names(zip_checkpoint(pickle, FOUR))
    at = pickle.index(b"cos\nsystem")
    assert found["os.system"] == {
        "name": "os.system", "status": "dangerous", "calls": 2, "path": ["b"], "where": f"data.pkl, byte {at}",
        "weights_only": False,
    }  # fmt: skip
    assert found["torch._utils._rebuild_tensor_v2"]["path"] == ["a"]
    assert found["torch.FloatStorage"]["calls"] == 0
    assert found["torch.FloatStorage"]["path"] == ["a"]
    assert found["torch.FloatStorage"]["weights_only"] is True


def test_the_shortcut_for_tensors_counts_too():
    torch = pytest.importorskip("torch")
    out = io.BytesIO()
    torch.save({f"w{n}": torch.zeros(2) for n in range(50)}, out)
    found = listed_names(out.getvalue())
    assert found["torch._utils._rebuild_tensor_v2"]["calls"] == 50
    assert found["collections.OrderedDict"]["calls"] == 50


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (mapped((text("cls"), name("my", "Net"))), ["cls"]),
        (mapped((text("m"), name("my", "Net") + b")\x81")), ["m"]),
        (listed(b"N", call(name("my", "Net"))), [1]),
        (call(name("my", "Net")) + b"0N", None),
        (mapped((text("d"), call(name("collections", "defaultdict"), name("my", "Net")))), ["d", {"arg": 0}]),
        (mapped((text("w"), call(name("torch._tensor", "_rebuild_from_type_v2"),
                                 name("torch._utils", "_rebuild_tensor_v2"), name("my", "Net"),
                                 many(storage(numel=4), b"K\0", many(b"K\4"), many(b"K\1"), b"\x89", b"N"), b"N"))),
         ["w"]),
    ],
)  # fmt: skip
def test_where_a_class_is_used(body, path):
    assert listed_names(zip_checkpoint(pickled(body), FOUR))["my.Net"]["path"] == path


def test_a_name_inside_a_nested_checkpoint_says_so():
    inner = legacy_stream(pickled(SYSTEM))
    body = call(name("torch.storage", "_load_from_bytes"), b"C" + bytes([len(inner)]) + inner)
    found = listed_names(pickled(body, protocol=3))
    assert found["os.system"]["where"].startswith("a checkpoint inside, byte ")


def test_a_name_read_from_many_blobs_is_listed_once():
    inner = legacy_stream(pickled(SYSTEM))
    blob = b"C" + bytes([len(inner)]) + inner + put(1)
    load = name("torch.storage", "_load_from_bytes") + put(2)
    body = listed(load + b"(" + blob + b"tR", *[get(2) + many(get(1)) + b"R"] * 9)
    names = [use["name"] for use in globals_json(open_bytes(pickled(body, protocol=3)))]
    assert names.count("os.system") == 1
    assert listed_names(pickled(body, protocol=3))["os.system"]["calls"] == 10


def test_finding_the_places_ends_with_the_last_name(monkeypatch):
    """A state_dict shows all its names in its first row: a hundred thousand others are not looked at."""
    checkpoint = open_bytes(zip_checkpoint(pickled(listed(tensor(key="0"), *[b"N"] * 9000)), FOUR))
    steps = []

    class Steps:
        def step(self, done, total):
            steps.append(done)

    rows = {use.name: row for use, row in used_names(checkpoint, Steps())}
    assert rows["torch._utils._rebuild_tensor_v2"] == 1
    assert rows["collections.OrderedDict"] is None
    assert len(steps) == 1


def test_a_doubtful_name_is_looked_for_to_the_end():
    body = listed(tensor(key="0"), *[b"N"] * 9000, call(name("my", "Net")))
    assert listed_names(zip_checkpoint(pickled(body), FOUR))["my.Net"]["path"] == [9001]


# --- the verdict --------------------------------------------------------------------------------------------------


def test_the_allowed_names_are_torchs():
    torch = pytest.importorskip("torch")
    if not torch.__version__.startswith(VERSION):
        pytest.skip("the rules are of another version")
    from torch._weights_only_unpickler import _get_allowed_globals

    assert set(_get_allowed_globals()) == ALLOWED


REFUSED = {
    "os.system": SYSTEM,
    "eval": call(name("__builtin__", "eval"), text("1")),
    "a class": name("my.models", "Net") + b")\x81",
    "Python 2 spelling": call(name("__builtin__", "xrange"), b"K\1"),
    "a module of Python 2": name("cPickle", "loads"),
    "DTensor": name("torch.distributed.tensor", "DTensor"),
    "opcode 67": b"C\x01x",
    "opcode before a name": b"I5\n0" + name("my", "Net"),
    "a name before an opcode": name("my", "Net") + b"0I5\n",
    "called twice": call(call(name("collections", "OrderedDict"))),
    "a set is appended to": b"\x8fK\1a",
    "a dict gets attributes": b"}}b",
    "a persistent id of another kind": many(text("module"), b"N") + b"Q",
    "a persistent id that is text": text("0") + b"Q",
    "a list as a class": b"])\x81",
}


@pytest.mark.parametrize("title", REFUSED)
def test_the_words_are_torchs(tmp_path, title):
    torch = pytest.importorskip("torch")
    if title == "DTensor" and "torch.distributed.tensor" in sys.modules:
        pytest.skip("once it is imported, torch takes it")
    path = tmp_path / "m.pth"
    path.write_bytes(zip_checkpoint(pickled(REFUSED[title])))
    with pytest.raises(Exception) as refused:  # noqa: PT011  torch raises several kinds
        torch.load(path, weights_only=True)
    said = verdict(open_bytes(path.read_bytes()))
    assert not said.loads
    assert said.version == VERSION
    assert said.message
    assert said.message in str(refused.value)


def test_a_plain_pickle_is_refused_once_it_was_read(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pkl"
    path.write_bytes(pickled(mapped((text("epoch"), integer(3)))))
    with pytest.raises(RuntimeError) as refused:
        torch.load(path, weights_only=True)
    said = verdict(open_bytes(path.read_bytes()))
    assert (said.loads, said.message in str(refused.value)) == (False, True)


def test_the_first_thing_in_the_way_is_named():
    said = verdict(open_bytes(zip_checkpoint(pickled(many(name("a", "B"), name("c", "D"))))))
    assert said.reason == "it names a.B"


def test_what_is_damaged_is_refused_for_that():
    said = verdict(open_bytes(zip_checkpoint(pickled(tensor()))))
    assert not said.loads
    assert "no record" in said.reason


def test_what_is_fine_loads():
    assert verdict(open_bytes(zip_checkpoint(pickled(tensor()), FOUR))) == Verdict(True)


def test_the_zip_of_torch_1_4_loads_nowhere_else():
    said = verdict(open_bytes(zip_checkpoint(pickled(tensor()), FOUR, folder="tensors")))
    assert "torch 1.4" in said.reason
