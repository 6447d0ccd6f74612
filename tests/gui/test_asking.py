"""What the file dialogs show."""

import pytest

from ckpt_viewer.gui.asking import EXPORT_FILTER, SAVE_FILTER, fitting_filter


@pytest.mark.parametrize(
    ("path", "filters", "fitting"),
    [
        ("/a/model_3.state_dict.pth", EXPORT_FILTER, "PyTorch files (*.pth *.pt *.ckpt *.bin)"),
        ("/a/X.SAFETENSORS", EXPORT_FILTER, "safetensors (*.safetensors)"),
        ("/a/x.npy", EXPORT_FILTER, "NumPy arrays (*.npy)"),
        ("/a/weights", EXPORT_FILTER, "All files (*)"),
        ("/a/x.cpu.pth.tar", SAVE_FILTER, SAVE_FILTER.split(";;")[0]),
        ("/a/x.txt", "CSV (*.csv)", ""),
    ],
)
def test_files_of_the_kind_that_is_written_are_seen(path, filters, fitting):
    assert fitting_filter(path, filters) == fitting
