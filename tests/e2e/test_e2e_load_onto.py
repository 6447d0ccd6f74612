"""Choosing where tensors load: by keyboard, by mouse, and by the button of the message that says what does not."""

from __future__ import annotations

from made_files import write_checkpoint


def devices(viewer):
    return {row["cells"]["Device"] for row in viewer.rows() if row["cells"]["Device"]}


def test_the_keyboard_chooses_cpu_and_nothing_is_read_again(open_viewer, checkpoint_file):
    before = checkpoint_file.read_bytes()
    viewer = open_viewer(checkpoint_file)
    assert devices(viewer) == {"cuda:1"}
    assert viewer.says("loadCode", "torch.load") == 'torch.load("run.pth")'
    checkpoint_file.rename(checkpoint_file.with_name("moved.pth"))
    viewer.hand.keys("ctrl+l")
    viewer.wait(lambda: viewer.widget("mapLocationBox")["open"], "the list open")
    viewer.hand.keys("Down", "Return")
    viewer.becomes(lambda: devices(viewer), {"cuda:1 → cpu"})
    assert viewer.says("mapLocationBox") == "CPU (works everywhere)"
    assert viewer.widget("mapLocationBox")["spoken"].endswith("CPU (works everywhere)")
    assert viewer.says("loadCode", "cpu") == 'torch.load("run.pth", map_location="cpu")'
    viewer.says("summaryStrip", "cuda:1 → cpu")
    viewer.says("detailTabs", "yes, on the CPU", 'torch.load("run.pth", map_location="cpu")')
    viewer.quit()
    assert checkpoint_file.with_name("moved.pth").read_bytes() == before


def test_the_mouse_chooses_storage_as_read_and_back(open_viewer, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    pick(viewer, "Storage as read")
    viewer.becomes(lambda: devices(viewer), {"cuda:1 → cpu"})
    viewer.says("loadCode", "lambda storage")
    pick(viewer, "As saved (cuda:1")
    viewer.becomes(lambda: devices(viewer), {"cuda:1"})
    viewer.quit()


def pick(viewer, text):
    """Click on the box, then on an entry of its list."""
    viewer.click("mapLocationBox")
    box = viewer.wait(lambda: viewer.widget("mapLocationBox"), "the list open", lambda box: box["open"])
    [number] = [number for number, choice in enumerate(box["choices"]) if choice.startswith(text)]
    viewer.hand.click_place(box["open"][number])


def test_a_device_that_is_not_here_is_a_message_with_a_way_out(open_viewer, home):
    viewer = open_viewer(write_checkpoint(home / "away.pth", tag="cuda:99"))
    message = viewer.says("messageBar", "cuda:99 is not on this computer", "torch.load would say")
    assert "Attempting to deserialize object on " in message
    viewer.says("detailTabs", "no: cuda:99 is not on this computer")
    assert viewer.titles() == ["away.pth"]
    viewer.click_button("Load onto CPU", "messageBar")
    viewer.becomes(lambda: devices(viewer), {"cuda:99 → cpu"})
    viewer.becomes(lambda: viewer.is_shown("messageBar"), False)
    viewer.says("detailTabs", "yes, on the CPU")
    viewer.quit()


def test_tab_leads_through_the_bar_the_message_and_the_filter_to_the_tree(open_viewer, home):
    viewer = open_viewer(write_checkpoint(home / "away.pth", tag="cuda:99"))
    viewer.says("messageBar", "cuda:99 is not on this computer")
    viewer.becomes(viewer.keyboard, "checkpointTree")
    before_it = ("openButton", "mapLocationBox", "copyCode", "exportStateDictButton",
                 "messageAction", "messageDismiss", "treeFilter")  # fmt: skip
    for name in reversed(before_it):
        viewer.hand.keys("shift+Tab")
        viewer.becomes(viewer.keyboard, name)
    for name in (*before_it[1:], "checkpointTree", "copyPathButton"):
        viewer.hand.keys("Tab")
        viewer.becomes(viewer.keyboard, name)
    viewer.quit()


def test_the_rules_are_set_by_the_keyboard_alone(open_viewer, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    viewer.hand.keys("ctrl+l")
    viewer.wait(lambda: viewer.widget("mapLocationBox")["open"], "the list open")
    viewer.hand.keys("End", "Return")
    viewer.focus("Load onto: rules")
    viewer.becomes(viewer.keyboard, "QComboBox")
    viewer.hand.keys("ctrl+a")
    viewer.hand.type("cuda:7")
    for name in ("copyCode", "QPushButton"):
        viewer.hand.keys("Tab")
        viewer.becomes(viewer.keyboard, name)
    viewer.hand.keys("space")
    viewer.becomes(lambda: devices(viewer), {"cuda:1 → cuda:7"})
    viewer.focus(checkpoint_file.name)
    viewer.quit()
