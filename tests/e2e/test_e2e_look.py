"""Looking at entries: by the keyboard to a tensor's numbers, and by way of the clipboard to other programs."""

from __future__ import annotations

import numpy as np
from made_files import make_checkpoint

GROUPING = "\N{NARROW NO-BREAK SPACE}"


def shown_statistics(viewer):
    return {row["cells"]["Statistic"]: row["cells"]["Value"] for row in viewer.rows("statsTable")}


def exact_statistics(viewer):
    """The statistics that show, as numbers, once they are exact."""
    exact = lambda texts: not any(mark in text for text in texts.values() for mark in "…≈")  # noqa: E731
    texts = viewer.wait(lambda: shown_statistics(viewer), "exact statistics", exact)
    return {name: float(text.replace(GROUPING, "").split(" ")[0]) for name, text in texts.items()}


def test_numbers_of_a_tensor_are_those_of_numpy(open_viewer, checkpoint_file, neighbour):
    values = make_checkpoint()["model"]["fc.weight"].numpy().astype(np.float64)
    viewer = open_viewer(checkpoint_file)
    viewer.select("fc.weight", "weight")
    assert viewer.row("weight")["cells"]["Shape"] == "5 × 216"
    shown = exact_statistics(viewer)
    for name in ("min", "max", "mean", "std"):
        expected = getattr(values, name)()
        assert abs(shown[name] - expected) <= 1e-5 * abs(expected), name
    assert [shown[name] for name in ("values", "finite", "zeros", "NaN", "+Inf", "-Inf")] == [1080, 1080, 0, 0, 0, 0]
    plot = viewer.widget("histogramPlot")["place"]
    viewer.wait(lambda: neighbour.ask("colours", *plot), "bars where the histogram stands", lambda count: count > 4)
    viewer.hand.keys("Return", "ctrl+2")
    rows = viewer.wait(lambda: first_columns(viewer), "values without gaps", lambda rows: "…" not in str(rows))
    assert rows == [[f"{number:.6g}" for number in row[:4]] for row in values]
    viewer.quit()


def first_columns(viewer):
    return [[row["cells"][str(column)] for column in range(4)] for row in viewer.rows("valuesTable")]


def test_copies_reach_other_programs_in_full_precision(open_viewer, checkpoint_file, neighbour):
    values = make_checkpoint()["model"]["conv.bias"].numpy()
    viewer = open_viewer(checkpoint_file)
    viewer.select("conv.bias", "bias")
    clipboard = lambda: neighbour.ask("clipboard")  # noqa: E731
    viewer.hand.keys("ctrl+c")
    viewer.becomes(clipboard, "/model/conv.bias")
    viewer.hand.keys("ctrl+shift+c")
    row = "/model/conv.bias\ttorch.Tensor\t[6]\tfloat32\tcuda:1\t6\t24"  # statistics may follow
    viewer.wait(clipboard, "the row on the clipboard", lambda text: text.startswith(row))
    exact_statistics(viewer)
    viewer.click("statsTable")
    viewer.hand.keys("ctrl+a", "ctrl+c")
    text = viewer.wait(clipboard, "the statistics on the clipboard", lambda text: text.startswith("values\t6\n"))
    copied = dict(line.split("\t") for line in text.splitlines())
    assert float(copied["min"]) == values.min()
    assert float(copied["max"]) == values.max()
    assert abs(float(copied["mean"]) - values.astype(np.float64).mean()) < 1e-15
    viewer.quit()


def test_the_filter_hides_rows_and_escape_brings_them_back(open_viewer, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    every = viewer.names()
    viewer.filter("running_mean")
    viewer.becomes(viewer.names, ["run.pth", "model", "bn", "running_mean"])
    viewer.hand.keys("Escape")
    viewer.becomes(viewer.names, every)
    assert viewer.widget("treeFilter")["text"] == ""
    assert viewer.keyboard() == "checkpointTree"
    viewer.filter("nosuchthing")
    viewer.says("treeNothing", "nosuchthing", "Esc")
    viewer.hand.keys("Escape")
    viewer.becomes(viewer.names, every)
    viewer.quit()


def test_arrows_letters_and_backspace_move_in_the_tree(open_viewer, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    viewer.becomes(viewer.keyboard, "checkpointTree")
    viewer.hand.keys("Down")
    viewer.becomes(viewer.current, "model")
    viewer.hand.type("opt")
    viewer.becomes(viewer.current, "optimizer")
    viewer.hand.keys("Right")
    viewer.row("param_groups")
    viewer.hand.keys("Down")
    viewer.becomes(viewer.current, "state")
    viewer.hand.keys("BackSpace")
    viewer.becomes(viewer.current, "optimizer")
    viewer.says("detailFacts", "dict")
    viewer.hand.keys("F1")
    viewer.says("shortcutCard", "Ctrl+Shift+R", "Remap to CPU")
    viewer.hand.keys("F1")
    viewer.becomes(lambda: viewer.is_shown("shortcutCard"), False)
    viewer.quit()
