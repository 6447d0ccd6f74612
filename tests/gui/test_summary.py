from __future__ import annotations

import pytest
import torch
from hand_made import make_checkpoint, mapping

from ckpt_viewer.analysis.loading import LoadProblem
from ckpt_viewer.analysis.overview import overview
from ckpt_viewer.analysis.resume import resume
from ckpt_viewer.core.finding import GlobalUse, Note
from ckpt_viewer.core.location import Locator, leave_on_cpu
from ckpt_viewer.core.tensor import StorageSpec, TensorSpec
from ckpt_viewer.core.value import Global, Instance
from ckpt_viewer.formats import open_checkpoint
from ckpt_viewer.gui.summary import (
    Fact,
    contents_links,
    device_of,
    devices_text,
    kind_text,
    load_fact,
    resume_fact,
    root_facts,
    strip_parts,
    weights_only_fact,
)
from ckpt_viewer.gui.tree import build_index

LOAD = Fact("Loads here", "yes")


def tensor(tag, key="0", numel=10):
    return TensorSpec(StorageSpec(key, tag, "float32", numel, None), "float32", (numel,), (1,))


def state_dict(*tags):
    return mapping(
        "collections.OrderedDict", **{f"layer{n}__weight": tensor(tag, str(n)) for n, tag in enumerate(tags)}
    )


def test_the_strip_says_the_most_important_first(checkpoint):
    checkpoint.map_onto("cpu")
    parts = strip_parts(checkpoint, overview(checkpoint), looked(checkpoint))
    assert parts == [
        "Training checkpoint, epoch 3",
        "9.41 K parameters",
        "134 MB",
        "zip",
        "cuda:1 → cpu",
        "can be resumed",
    ]


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (state_dict("cpu"), "state_dict"),
        (mapping(model=state_dict("cpu"), step=12), "Training checkpoint, step 12"),
        (mapping(model=state_dict("cpu"), step=12, epoch=2), "Training checkpoint, epoch 2"),
        (mapping(model=state_dict("cpu"), epoch=2.5), "Training checkpoint, epoch 2.5"),
        (tensor("cpu"), "Tensor"),
        (mapping(hello="world"), "Other contents"),
    ],
)
def test_what_a_file_is(root, text):
    assert kind_text(overview(make_checkpoint(root=root))) == text


@pytest.mark.parametrize(
    ("tags", "map_location", "text"),
    [
        (["cuda:1"], None, "cuda:1"),
        (["cuda:1"], "cpu", "cuda:1 → cpu"),
        (["cuda:0", "cuda:1"], {"cuda:1": "cpu"}, "cuda:0, cuda:1 → cpu"),
        (["cuda:0"], leave_on_cpu, "cuda:0 → cpu"),
        (["cpu"], "cpu", "cpu"),
        ([None], None, "no device"),
        ([f"cuda:{n}" for n in range(6)], None, "cuda:0, cuda:1, cuda:2, cuda:3, 2 more"),
    ],
)
def test_where_it_lies_and_goes(tags, map_location, text):
    checkpoint = make_checkpoint(root=state_dict(*tags))
    checkpoint.map_onto(map_location)
    assert devices_text(overview(checkpoint), checkpoint.locator) == text


def test_a_callable_that_wants_more_than_a_tag_is_a_question_mark():
    assert device_of(Locator(lambda storage, tag: 5), "cuda:0") == "?"


def looked(checkpoint):
    return resume(checkpoint, overview(checkpoint))


@pytest.mark.parametrize(
    ("remove", "text"),
    [
        ((), "can be resumed"),
        (("lr_scheduler", "epoch"), "can be resumed"),
        (("optimizer",), "cannot be resumed: it holds no optimizer"),
        (("model",), "cannot be resumed: it holds no model"),
    ],
)
def test_whether_it_can_be_resumed(remove, text):
    whole = make_checkpoint().contents.root.string_items()
    root = mapping(**{name: value for name, value in whole.items() if name not in remove})
    checkpoint = make_checkpoint(root=root)
    assert resume_fact(looked(checkpoint)).text == text
    assert strip_parts(checkpoint, overview(checkpoint), looked(checkpoint))[-1] == text


def test_while_it_is_being_looked_at(checkpoint):
    assert resume_fact(None).text == "looking whether it can be resumed …"
    assert "resumed" not in " ".join(strip_parts(checkpoint, overview(checkpoint), None))


def test_warnings_are_counted_where_it_can_be_resumed_and_an_error_is_the_reason():
    schedule = mapping(step_size=30, last_epoch=3, _step_count=9, _last_lr=[0.5])
    whole = make_checkpoint().contents.root.string_items()
    said = resume_fact(looked(make_checkpoint(root=mapping(**{**whole, "lr_scheduler": schedule}))))
    assert said == Fact("Resume", "can be resumed, with 2 warnings", "warning")
    broken = mapping(state=mapping(), param_groups=[mapping(lr=float("nan"), momentum=0.9, params=[0])])
    said = resume_fact(looked(make_checkpoint(root=mapping(**{**whole, "optimizer": broken}))))
    assert said.severity == "error"
    assert said.text.startswith("cannot be resumed: a learning rate is NaN")


def test_nothing_to_resume_from():
    said = resume_fact(looked(make_checkpoint(root=mapping(a=1))))
    assert said == Fact("Resume", "cannot be resumed: it holds no model and no optimizer")


def test_whether_it_loads_here(checkpoint):
    known, locator = overview(checkpoint), checkpoint.locator
    problem = LoadProblem("cuda:1", "cuda:1", "torch says no")
    fact = load_fact(known, locator, (problem,), ("cpu",), "")
    assert fact == Fact("Loads here", "no: cuda:1 is not on this computer", "warning")
    assert load_fact(known, locator, (), None, "looking for devices").text == "looking for devices"
    assert load_fact(known, locator, (), ("cpu", "cuda:1"), "").text == "yes, onto cuda:1"
    assert load_fact(known, Locator("cpu"), (), None, "looking for devices").text == "yes, on the CPU"


def test_what_weights_only_says():
    taken = Fact("Safe mode", "torch.load(weights_only=True) of torch 2.13 reads it")
    assert weights_only_fact(make_checkpoint()) == taken
    refused = weights_only_fact(make_checkpoint(weights_only="it names argparse.Namespace"))
    assert refused == Fact("Safe mode", "torch.load(weights_only=True) refuses it: it names argparse.Namespace", "info")


def test_a_dangerous_name_is_an_error_and_notes_are_shown():
    checkpoint = make_checkpoint(
        globals=(GlobalUse("posix.system", "dangerous"), GlobalUse("collections.OrderedDict", "known")),
        notes=(Note("warning", "trailing-bytes", None, "12 bytes follow\x1b"),),
    )
    facts = root_facts(checkpoint, overview(checkpoint), LOAD, looked(checkpoint))
    assert Fact("Danger", "loading it in Python would run posix.system; nothing was run here", "error") in facts
    assert facts[-1] == Fact("Note", r"12 bytes follow\x1b", "warning")


def test_the_contents_are_links_with_a_few_words(checkpoint):
    links, more = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
    assert [(link.name, link.pointer) for link in links] == [
        ("model", "/model"),
        ("optimizer", "/optimizer"),
        ("lr_scheduler", "/lr_scheduler"),
        ("epoch", "/epoch"),
    ]
    assert links[0].text == "model, 1 entry"
    assert "momentum 0.9" in links[1].text
    assert links[3].text == "3"
    assert more == 0


def test_links_tell_a_number_from_its_text():
    root = mapping()
    root.pairs += [0, "a number", "0", "a text"]
    checkpoint = make_checkpoint(root=root)
    links, _ = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
    assert [(link.name, link.text) for link in links] == [("[0]", "'a number'"), ("0", "'a text'")]


def test_a_tensor_is_told_by_its_shape():
    checkpoint = make_checkpoint(root=state_dict("cpu"))
    links, _ = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
    assert links[0].text == "10, float32"


def test_of_very_many_entries_the_first_are_links():
    root = mapping(**{f"key{n}": n for n in range(100)})
    checkpoint = make_checkpoint(root=root)
    links, more = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
    assert len(links) + more == 100
    assert all(checkpoint[link.pointer].value == number for number, link in enumerate(links))


def test_of_a_whole_module_what_is_empty_is_not_listed(tmp_path):
    torch.save(torch.nn.Linear(3, 4), tmp_path / "linear.pth")
    with open_checkpoint(tmp_path / "linear.pth") as checkpoint:
        links, more = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
        assert [link.name for link in links] == ["training", "_parameters", "in_features", "out_features"]
        assert more == checkpoint.root.length - 4


def test_absurd_names_and_numbers_are_shown():
    root = mapping(**{"a\u202e/b~": 1, "big": 1 << 100_000, "text": "<b>\n", "nothing": None, "nan": float("nan")})
    checkpoint = make_checkpoint(root=root)
    links, _ = contents_links(checkpoint, overview(checkpoint), build_index(checkpoint))
    assert links[0].name == r"a\u202e/b~"
    assert checkpoint[links[0].pointer].value == 1
    assert [link.text for link in links[1:]] == ["an integer of 100001 bits", r"'<b>\n'", "None", "nan"]


def test_the_strip_says_where_a_model_was_saved_whole():
    parts = {name: mapping() for name in ("_parameters", "_buffers", "_modules")}
    net = Instance(Global("acme", "Net"), (), new=True)
    net.state = mapping(training=True, **parts)
    group = mapping(lr=0.1, params=[])
    root = mapping(model=net, optimizer=mapping(state=mapping(), param_groups=[group]), epoch=3)
    checkpoint = make_checkpoint(root=root)
    strip = strip_parts(checkpoint, overview(checkpoint), None)
    assert strip[:2] == ["Training checkpoint, epoch 3", "model saved whole"]
    alone = make_checkpoint(root=net)
    assert strip_parts(alone, overview(alone), None)[0] == "Whole model"
