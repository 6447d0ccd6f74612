"""Files given as arguments or chosen: what is to be seen, in the window and on the screen itself."""

from __future__ import annotations

import pytest
from made_files import write_checkpoint, write_hostile

from ckpt_viewer.core.text import bytes_text


def test_the_tree_is_painted_and_the_root_answers(open_viewer, checkpoint_file, neighbour):
    viewer = open_viewer(checkpoint_file)
    names = viewer.names()
    assert names[0] == "run.pth"
    assert [each for each in names if each in ("model", "optimizer", "lr_scheduler", "epoch")] == [
        "model", "optimizer", "lr_scheduler", "epoch",
    ]  # fmt: skip
    tree = viewer.widget("checkpointTree")["place"]
    viewer.wait(lambda: neighbour.ask("colours", *tree), "letters where the tree stands", lambda count: count > 8)
    assert viewer.current() == "run.pth"
    assert viewer.text("rootHeading") == "Training checkpoint, epoch 7"
    panel = viewer.says("detailTabs", "Loads here")
    for answer in ("SGD, momentum 0.9", "StepLR", "cuda:1", "can be resumed", 'torch.load("run.pth")'):
        assert answer in panel
    size = bytes_text(checkpoint_file.stat().st_size)
    assert f"file {size}" in panel
    viewer.says("summaryStrip", "Training checkpoint, epoch 7", "zip", "cuda:1", "can be resumed", size)
    viewer.quit()


def test_select_and_map_location_are_obeyed(start, checkpoint_file):
    viewer = start(checkpoint_file, "--select", "/model/fc.weight", "--map-location", "cpu", "--size", "1300x700")
    viewer.says("detailFacts", "5 × 216", "cuda:1 → cpu")
    assert viewer.window("run.pth")["place"][2:] == [1300, 700]
    assert viewer.current() == "weight"
    assert viewer.row("weight")["cells"]["Device"] == "cuda:1 → cpu"
    assert viewer.says("loadCode", "cpu") == 'torch.load("run.pth", map_location="cpu")'
    viewer.focus("run.pth")
    viewer.quit()


def test_several_files_get_a_window_each_and_ctrl_o_adds_one(start, checkpoint_file, home):
    other, third = (write_checkpoint(home / name, epoch) for name, epoch in (("other.ckpt", 9), ("third.pt", 11)))
    viewer = start(checkpoint_file, other)
    for file, epoch in ((other, 9), (checkpoint_file, 7)):
        viewer.says("rootHeading", f"epoch {epoch}", window=file.name)
    viewer.focus("run.pth")
    viewer.hand.keys("ctrl+o")
    viewer.answer_dialog("Open checkpoints", str(third))
    viewer.says("rootHeading", "epoch 11", window="third.pt")
    assert viewer.titles() == ["other.ckpt", "run.pth", "third.pt"]
    viewer.focus("run.pth")
    viewer.hand.keys("ctrl+w")
    viewer.becomes(viewer.titles, ["other.ckpt", "third.pt"])
    viewer.focus("other.ckpt")
    viewer.quit()


def test_a_hostile_file_is_shown_and_nothing_in_it_runs(open_viewer, home):
    canary = home / "canary"
    viewer = open_viewer(write_hostile(home / "evil.pth", canary))
    panel = viewer.says("detailTabs", "Danger")
    assert "os.system" in panel
    assert "builtins.exec" in panel
    rows = {row["cells"]["Name"]: row for row in viewer.rows()}
    for name, called in (("model", "os.system"), ("extra", "exec")):
        assert rows[name]["spoken"] == f"{name}, dangerous, not called: {called}"
        viewer.select(name, name)
        viewer.says("detailTabs", "Nothing was run", str(canary))
    assert not canary.exists()
    viewer.quit()
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"just some notes\n", None], ids=["text", "truncated"])
def test_a_file_that_fails_keeps_a_window_that_names_it(start, home, checkpoint_file, content):
    file = home / "broken.pth"
    file.write_bytes(checkpoint_file.read_bytes()[:-4000] if content is None else content)
    viewer = start(file)
    viewer.focus("broken.pth")
    assert viewer.says("failedHeading") == "broken.pth could not be opened"
    assert viewer.says("failedReason").endswith(".")
    file.write_bytes(checkpoint_file.read_bytes())
    viewer.click_button("Try again", "startPage")
    viewer.says("rootHeading", "epoch 7")
    viewer.quit()
