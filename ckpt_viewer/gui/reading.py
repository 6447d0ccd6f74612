"""From a path to what a window shows: runs in a job, knows no widget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ckpt_viewer.core.progress import Context

if TYPE_CHECKING:
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.gui.tree.index import TreeIndex


class Loaded(NamedTuple):
    """An open checkpoint and the index that the tree shows it by."""

    checkpoint: Checkpoint
    tree: TreeIndex


def prepare() -> None:
    """Import what reads a file and indexes it, before Qt is imported: after that PySide reads the source of each module
    that comes, to see whether it speaks of PySide, and 50 files cost 10 ms of a start-up.
    """
    from ckpt_viewer import formats  # noqa: F401
    from ckpt_viewer.analysis import roles  # noqa: F401
    from ckpt_viewer.gui.tree import build, cells, opening, pages, typeahead  # noqa: F401


Reader: TypeAlias = Callable[[str, "MapLocation", bool, Context], Loaded]


def read_file(path: str, map_location: MapLocation, grouped: bool, context: Context) -> Loaded:
    """Open a file, walk its tree and index it; raises CheckpointError or Cancelled."""
    return _read(path, map_location, grouped, context, whole=True)


def read_alone(path: str, map_location: MapLocation, grouped: bool, context: Context) -> Loaded:
    """The same without the other files of a sharded set, for who wants to copy this one."""
    return _read(path, map_location, grouped, context)


def salvage_file(path: str, map_location: MapLocation, grouped: bool, context: Context) -> Loaded:
    """The same for a file that is cut off or damaged: what can be trusted of it."""
    return _read(path, map_location, grouped, context, salvage=True)


def _read(
    path: str, map_location: MapLocation, grouped: bool, context: Context, *, whole: bool = False, salvage: bool = False
) -> Loaded:
    from ckpt_viewer.formats import open_checkpoint

    checkpoint = open_checkpoint(path, map_location, context, whole=whole, salvage=salvage)
    try:
        return Loaded(checkpoint, index_tree(checkpoint, grouped, context))
    except BaseException:
        checkpoint.close()
        raise


def index_tree(checkpoint: Checkpoint, grouped: bool, context: Context) -> TreeIndex:
    """Index a checkpoint for the tree, with what was recognised in it; raises Cancelled."""
    from ckpt_viewer.analysis.roles import find_roles
    from ckpt_viewer.gui.tree import build_index

    roles = find_roles(checkpoint.load_outline(context), checkpoint.models, context)
    marks = {row: role.name for row, role in roles.items()}
    notes = {row: role.detail for row, role in roles.items() if role.detail and role.name != "progress"}
    index = build_index(checkpoint, context, grouped, marks, notes)
    if checkpoint.lost:
        from ckpt_viewer.gui.tree.lost import mark_lost

        mark_lost(index, checkpoint.lost, context)
    return index
