"""Files that change while they are open: a new save, F5, a file that shrinks."""

from __future__ import annotations

import os

from made_files import make_checkpoint, write_checkpoint


def maximum(viewer):
    rows = {row["cells"]["Statistic"]: row["cells"]["Value"] for row in viewer.rows("statsTable")}
    return rows["max"]


def test_f5_reads_again_and_keeps_the_selection(open_viewer, checkpoint_file):
    viewer = open_viewer(checkpoint_file)
    viewer.select("fc.bias", "bias")
    for epoch in (7, 8):
        expected = f"{make_checkpoint(epoch)['model']['fc.bias'].max().item():.6g}"
        viewer.becomes(lambda: maximum(viewer), expected)
        viewer.says("summaryStrip", f"epoch {epoch}")
        assert viewer.current() == "bias"
        if epoch == 7:
            write_checkpoint(checkpoint_file, epoch=8)
            viewer.hand.keys("F5")
    viewer.quit()


def test_a_file_that_shrinks_is_a_sentence_and_can_be_read_again(open_viewer, checkpoint_file):
    whole = checkpoint_file.read_bytes()
    viewer = open_viewer(checkpoint_file)
    viewer.row("model")
    os.truncate(checkpoint_file, len(whole) // 3)
    viewer.select("fc.weight", "weight")
    text = viewer.says("detailTabs", "Reload the file")
    assert "changed" in text
    assert viewer.row("model")["cells"]["Shape"] == "9 tensors", "the tree stays"
    viewer.hand.keys("F5")
    assert viewer.says("failedHeading") == "run.pth could not be opened"
    checkpoint_file.write_bytes(whole)
    viewer.hand.keys("F5")
    viewer.says("summaryStrip", "epoch 7")
    viewer.quit()
