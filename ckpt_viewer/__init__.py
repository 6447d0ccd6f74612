"""See what is in a PyTorch checkpoint without running anything in it.

>>> import ckpt_viewer
>>> with ckpt_viewer.open_checkpoint("model_3.pth", map_location="cpu") as checkpoint:  # doctest: +SKIP
...     checkpoint["/model/conv1.weight"].shape
(64, 3, 7, 7)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckpt_viewer.errors import CheckpointError

if TYPE_CHECKING:
    import os

    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.core.node import Node
    from ckpt_viewer.stats.summary import Summary

__version__ = "0.1.0"
__all__ = ["CheckpointError", "__version__", "open_checkpoint", "summarize"]


def open_checkpoint(
    path: str | os.PathLike[str],
    map_location: MapLocation = None,
    *,
    whole: bool = False,
    salvage: bool = False,
) -> Checkpoint:
    """Open a checkpoint file: its tree is read, its tensors stay in the file until asked for.

    Args:
        path: a file written by torch.save (zip or legacy stream) or safetensors, the index of a sharded set of them, or
            a trainer's folder.
        map_location: what `torch.load` takes: None, a string, a torch.device, a dict, a callable(storage_spec, tag).
        whole: where the file is one of a sharded set whose index or other files are beside it, open the set.
        salvage: rebuild what can be trusted of a file that is cut off or damaged; `Checkpoint.lost` says what is not.

    Raises:
        CheckpointError: it cannot be read or is no checkpoint; the message says why and what to do. BadMapLocation, one
            of them: `map_location` names a device that no torch has.
    """
    from ckpt_viewer.core.location import require_known
    from ckpt_viewer.formats import open_checkpoint as open_file

    require_known(map_location)

    return open_file(path, map_location, whole=whole, salvage=salvage)


def summarize(node: Node, bins: int = 256) -> Summary:
    """Return exact statistics and a histogram with `bins` equal bins of a tensor node.

    Large tensors that map_location puts on a GPU of this machine are counted there, with the same result.

    Raises:
        CheckpointError: the node is no tensor, has no values, or its bytes cannot be read.
    """
    from ckpt_viewer.stats.summary import WORTH_A_DEVICE, summarize_tensor

    tensor, using = node.tensor, None
    if tensor.numel >= WORTH_A_DEVICE and node.device not in (None, "cpu", "meta"):
        from ckpt_viewer.torch_bridge.counting import kernels_on

        using = kernels_on(node.device)
    return summarize_tensor(tensor, bins=bins, using=using)
