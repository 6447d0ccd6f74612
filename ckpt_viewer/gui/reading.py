"""From a path to what a window shows: runs in a job, knows no widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ckpt_viewer.core.progress import SILENT, Context
from ckpt_viewer.errors import CheckpointError, WriteFailed

if TYPE_CHECKING:
    from ckpt_viewer.analysis.loading import LoadProblem
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.analysis.role_rules import Role
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.gui.role_memory import RoleMemory
    from ckpt_viewer.gui.tree.index import TreeIndex


class Loaded(NamedTuple):
    """An open checkpoint, the index that the tree shows it by, and roles that the user gave: JSON Pointer -> role."""

    checkpoint: Checkpoint
    tree: TreeIndex
    given: Mapping[str, str] = {}


def prepare() -> None:
    """Import what reads a file and indexes it on one thread: two that import at once wait for each other."""
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
    """Index a checkpoint for the tree, with what was recognised in it; raises Cancelled.

    The text of a large one's names is not written: nobody looks for anything before the tree is painted.
    """
    from ckpt_viewer.gui.tree import build_index

    index = build_index(checkpoint, context, grouped, text=False)
    mark_tree(index, checkpoint, find_marks(checkpoint, context), context)
    return index


def find_marks(checkpoint: Checkpoint, context: Context) -> dict[int, Role]:
    """Return what was recognised in a checkpoint, and what the user said of it; raises Cancelled."""
    from ckpt_viewer.analysis.roles import find_roles

    return find_roles(checkpoint.load_outline(context), checkpoint.models, context, checkpoint.given)


def mark_tree(index: TreeIndex, checkpoint: Checkpoint, roles: dict[int, Role], context: Context) -> None:
    """Have a tree show roles, in place of those that it showed; raises Cancelled."""
    from ckpt_viewer.analysis.role_rules import CHOSEN
    from ckpt_viewer.gui.tree.names import role_word

    rows = index.rows
    index.notes = {rows[row]: role.detail for row, role in roles.items() if role.detail and role.name != "progress"}
    denied = {
        rows[row]: f"none of the known parts ({CHOSEN})" for row, name in checkpoint.given.items() if name == "none"
    }
    index.reasons = denied | {rows[row]: f"{role_word(role.name)} ({role.words})" for row, role in roles.items()}
    index.mark({rows[row]: role.name for row, role in roles.items()})
    if checkpoint.lost:
        from ckpt_viewer.gui.tree.lost import mark_lost

        mark_lost(index, checkpoint.lost, context)


def read_remembered(
    reader: Reader, path: str, map_location: MapLocation, grouped: bool, memory: RoleMemory | None, context: Context
) -> Loaded:
    """Open a file with what its user once said of its entries; raises CheckpointError or Cancelled."""
    loaded = reader(path, map_location, grouped, context)
    try:
        context.step(0, 0)
        return loaded if memory is None else _recall_roles(loaded, memory, context)
    except BaseException:
        loaded.checkpoint.close()
        raise


def _recall_roles(loaded: Loaded, memory: RoleMemory, context: Context) -> Loaded:
    checkpoint, tree, _ = loaded
    given = memory.recall(checkpoint)
    if given:
        checkpoint.take_roles(given, context)
        mark_tree(tree, checkpoint, find_marks(checkpoint, context), context)
    return loaded._replace(given=given)


class Correction(NamedTuple):
    """What a user said of entries, taken in.

    Attributes:
        mark: marks a tree so, on the thread that shows it. problem: why it is not remembered; None where it is.
    """

    mark: Callable[[TreeIndex], None]
    problem: CheckpointError | None


def correct_roles(
    checkpoint: Checkpoint, given: Mapping[str, str], memory: RoleMemory | None, context: Context
) -> Correction:
    """Have a checkpoint's entries be what the user says, and remember it; raises Cancelled."""
    checkpoint.take_roles(given, context)
    roles = find_marks(checkpoint, context)
    problem = None
    if memory is not None and not memory.remember(checkpoint, given):
        problem = WriteFailed(
            f"what you said holds until this window is closed, since it cannot be written into {memory.folder}; see "
            "that this folder can be written by you, and by nobody else"
        )
    return Correction(lambda index: mark_tree(index, checkpoint, roles, SILENT), problem)


def describe(
    checkpoint: Checkpoint, devices: tuple[str, ...] | None, context: Context
) -> tuple[Overview, tuple[LoadProblem, ...]]:
    """Return what is in a checkpoint, and what `find_problems` does; raises Cancelled."""
    from ckpt_viewer.analysis.overview import overview

    context.step(0, 0)
    return overview(checkpoint, context), find_problems(checkpoint, devices, context)


def find_problems(checkpoint: Checkpoint, devices: tuple[str, ...] | None, context: Context) -> tuple[LoadProblem, ...]:
    """Return what torch.load would refuse of a checkpoint on a machine with these devices; raises Cancelled."""
    from ckpt_viewer.analysis.loading import load_problems

    context.step(0, 0)
    return load_problems(checkpoint, devices, context)
