"""The button that writes the state_dict, from the window to torch."""

from __future__ import annotations

import torch
from made_files import make_checkpoint, make_model, same
from safetensors.torch import load_file


def test_the_button_writes_what_torch_loads_strictly(open_viewer, checkpoint_file, home):
    viewer = open_viewer(checkpoint_file)
    viewer.click("exportStateDictButton")
    viewer.focus("Export state_dict")
    viewer.becomes(lambda: viewer.widget("fileNameEdit")["text"], "run.state_dict.pth")
    viewer.answer_dialog("Export state_dict", str(home / "weights.pth"))
    viewer.says("messageBar", "Wrote weights.pth: ", "9 tensors, verified by torch", "Open the result")
    expected = make_checkpoint()["model"]
    written = torch.load(home / "weights.pth", weights_only=True)
    assert list(written) == list(expected)
    assert all(same(written[name], tensor) for name, tensor in expected.items())
    model = make_model()
    assert model.load_state_dict(written, strict=True).missing_keys == []
    viewer.click_button("Open the result", "messageBar")
    viewer.says("rootHeading", "state_dict", window="weights.pth")
    viewer.focus("weights.pth")
    viewer.quit()


def test_a_dialog_that_is_given_up_writes_nothing(open_viewer, checkpoint_file, home):
    viewer = open_viewer(checkpoint_file)
    viewer.hand.keys("ctrl+e")
    viewer.focus("Export state_dict")
    viewer.becomes(viewer.keyboard, "fileNameEdit")
    viewer.hand.keys("Escape")
    viewer.becomes(viewer.titles, ["run.pth"])
    viewer.focus("run.pth")
    viewer.quit()
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] == ["run.pth"]


def test_the_dialog_writes_what_its_plan_says(open_viewer, checkpoint_file, home):
    viewer = open_viewer(checkpoint_file)
    viewer.hand.keys("ctrl+shift+e")
    viewer.focus("Export")
    viewer.says("exportSummary", "9 tensors, ")
    viewer.click("exportExclude")
    viewer.hand.type("bn")
    viewer.says("exportSummary", "4 tensors, ", "5 left out")
    viewer.click("exportRename")
    viewer.hand.type("fc=conv")
    viewer.says("exportProblem", "would all be called 'conv.weight'")
    assert not viewer.widget("exportButton")["enabled"]
    viewer.hand.keys("ctrl+a")
    viewer.hand.type("fc=head")
    viewer.says("exportSummary", "2 renamed")
    viewer.click("exportTarget")
    viewer.hand.keys("ctrl+a")
    viewer.hand.type("part.safetensors")
    viewer.becomes(lambda: viewer.widget("exportFormat")["text"], "safetensors (.safetensors)")
    viewer.becomes(lambda: viewer.widget("exportButton")["enabled"], True)
    viewer.click("exportButton")
    viewer.says("messageBar", "Wrote part.safetensors: ", "4 tensors, verified by safetensors", "Open the result")
    written = load_file(home / "part.safetensors")
    model = make_checkpoint()["model"]
    assert sorted(written) == ["conv.bias", "conv.weight", "head.bias", "head.weight"]
    assert all(same(written[name], model[name.replace("head", "fc")]) for name in written)
    viewer.focus("run.pth")
    viewer.quit()
