"""One file in one window: what is open, how it is mapped, what is selected. Knows no widget.

Everything slow is a job; views hear of it through signals, or are attached whole (`attach`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.errors import Cancelled, NoSuchNode
from ckpt_viewer.gui.file_scan import FileScan
from ckpt_viewer.gui.jobs import Job, JobRunner, Latest
from ckpt_viewer.gui.loans import Loans
from ckpt_viewer.gui.marking import Marking
from ckpt_viewer.gui.picks import Picks
from ckpt_viewer.gui.reading import (
    Loaded,
    Reader,
    describe,
    find_problems,
    index_tree,
    read_alone,
    read_file,
    read_remembered,
    salvage_file,
)

if TYPE_CHECKING:
    from ckpt_viewer.analysis.loading import LoadProblem
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.core.node import Node
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.gui.session_view import View
    from ckpt_viewer.gui.tree.index import ModuleGroup, TreeIndex
    from ckpt_viewer.stats.kernels import Kernels


class Session(QObject):
    """One file in a window.

    Attributes:
        path: as given; ``""`` while there is none.
        checkpoint: None until it was opened. index: the tree's; None until then.
        grouped: whether the tree shows state_dicts by module.
        overview: None until `described`.
        problems: what torch.load would refuse here, empty until it is known.
        map_location: as chosen; survives `reload`. salvaging: whether a broken file is to be salvaged,
            alone: whether without the other files of its set; both survive it too.
        devices: what torch has on this machine; None while that is not known, and `device_note` says why.
        selected: a Node or what else the tree can select; None while nothing is open.
        error: why the last opening failed. opening: the Job that opens, while it runs.
        jobs: reads for this window's panels; cancelled when the file is closed.
        scan: the numbers of all tensors, once they were asked for. picks: tensors that are selected together.
        marking: what the user, or a comparison, says of entries.
        kernels_on: what counts on one of torch's devices here; None where nothing does.
    """

    loading = Signal()
    opened = Signal()
    indexed = Signal()
    """The same checkpoint has another `index`."""
    described = Signal()
    failed = Signal(object)
    remapped = Signal()
    problemsChanged = Signal()
    selectionChanged = Signal(object)
    exportWanted = Signal()
    """Something recommended to export the state_dict, and the user wants to."""
    trouble = Signal(object)
    """An error that leaves the file open."""

    def __init__(
        self, parent: QObject | None = None, reader: Reader = read_file, salvager: Reader = salvage_file
    ) -> None:
        super().__init__(parent)
        self.path = ""
        self.checkpoint: Checkpoint | None = None
        self.index: TreeIndex | None = None
        self.grouped = True
        self.overview: Overview | None = None
        self.problems: tuple[LoadProblem, ...] = ()
        self.map_location: MapLocation = None
        self.devices: tuple[str, ...] | None = None
        self.device_note = "looking for devices"
        self.kernels_on: Callable[[str], Kernels | None] = lambda _: None
        self.selected: Any = None
        self.error: BaseException | None = None
        self.opening: Job | None = None
        self.jobs = JobRunner(self)
        self.scan = FileScan(self.jobs, self)
        self.scan.failed.connect(self.trouble)
        self.picks = Picks(self)
        self.marking = Marking(self.jobs, self)
        self.marking.trouble.connect(self.trouble)
        self.marking.corrected.connect(self._on_corrected)
        self.salvaging = self.alone = False
        self._reader, self._salvager = reader, salvager
        self._wanted = ""
        self._judge_again = False
        self._loans = Loans()
        self._describing, self._judging, self._indexing = (Latest(self.jobs, self) for _ in range(3))
        self._indexing.finished.connect(self._on_indexed)
        self._indexing.failed.connect(self.trouble)
        self._describing.finished.connect(self._on_described)
        self._describing.failed.connect(self._on_description_failed)
        self._judging.finished.connect(self._on_judged)

    def attach(self, view: View) -> None:
        """Have a view told of everything."""
        self.loading.connect(view.show_loading)
        self.opened.connect(view.show_opened)
        self.described.connect(view.show_described)
        self.failed.connect(view.show_failed)
        self.remapped.connect(view.show_remapped)
        self.problemsChanged.connect(view.show_problems)
        self.selectionChanged.connect(view.show_selected)

    @property
    def is_empty(self) -> bool:
        """Whether no file was ever opened here."""
        return not self.path

    def open(self, path: str, select: str = "", *, salvage: bool = False, alone: bool = False) -> None:
        """Open a file, map it as chosen, and select the node at pointer `select` (the root if there is none).

        Args:
            salvage: where it is cut off or damaged, rebuild what can be trusted.
            alone: where it is one of a sharded set, leave the others out.
        """
        if self.opening is not None:
            self.opening.cancel()
        self.path, self._wanted, self.error = path, select, None
        self.salvaging, self.alone = salvage, alone
        reader = self._salvager if salvage else read_alone if alone else self._reader
        map_location, grouped, memory = self.map_location, self.grouped, self.marking.memory
        job = self.opening = self.jobs.start(
            lambda context: read_remembered(reader, path, map_location, grouped, memory, context),
            title="Opening the file",
        )
        job.finished.connect(lambda loaded: self._on_loaded(job, loaded))
        job.failed.connect(lambda error: self._on_failed(job, error))
        job.cancelled.connect(lambda: self._on_cancelled(job))
        self.loading.emit()

    def reload(self) -> None:
        """Read the file again; the selection stays where its pointer still leads."""
        if self.path:
            self.open(self.path, self.pointer, salvage=self.salvaging, alone=self.alone)

    def salvage(self) -> None:
        """Open the file once more, for what can be trusted of it."""
        if self.path:
            self.open(self.path, salvage=True)

    @property
    def pointer(self) -> str:
        """The JSON Pointer of what is selected; ``""`` for the root, and for what has none."""
        pointer = getattr(self.selected, "pointer", "")
        return pointer if isinstance(pointer, str) else ""

    def set_map_location(self, map_location: MapLocation) -> None:
        """Map everything anew; nothing is read again.

        Raises:
            BadMapLocation: torch.load would refuse it; the old one stays.
        """
        from ckpt_viewer.core.location import Locator

        Locator(map_location)
        self.map_location = map_location
        if self.checkpoint is not None:
            self.checkpoint.map_onto(map_location)
        self.remapped.emit()
        self.judge()

    def set_devices(self, devices: tuple[str, ...] | None, note: str) -> None:
        """Learn which devices torch has on this machine; None if it could not be asked, and `note` says why."""
        self.devices, self.device_note = devices, note
        self.judge()

    def kernels_for(self, tensor: TensorSpec) -> Kernels | None:
        """Return what counts a tensor on the device that it is mapped to; None for what counts here. On any thread."""
        checkpoint = self.checkpoint
        return self.kernels_on(checkpoint.locator.tensor(tensor)) if checkpoint is not None else None

    def select(self, node: Any) -> None:
        """Select a node (of this checkpoint's tree)."""
        self.selected = node
        self.selectionChanged.emit(node)

    def find(self, pointer: str) -> Node | ModuleGroup | None:
        """Return what a pointer leads to; None if that is nowhere or nothing is open."""
        if self.checkpoint is None or self.index is None:
            return None
        row = self.index.find(pointer)
        return None if row is None else self.index.subject(row, self.checkpoint)

    def regroup(self, grouped: bool) -> None:
        """Have the tree show state_dicts by module, or by flat keys; `indexed` follows."""
        self.grouped, checkpoint = grouped, self.checkpoint
        if checkpoint is not None:
            self._indexing.start(lambda context: index_tree(checkpoint, grouped, context), title="Arranging the tree")

    def describe(self) -> None:
        """Work out `overview` and `problems`; the window asks for it once the tree is painted."""
        checkpoint, devices = self.checkpoint, self.devices
        if checkpoint is not None:
            self._describing.start(lambda context: describe(checkpoint, devices, context))

    def judge(self) -> None:
        """Work out `problems` anew: the devices or the mapping changed."""
        checkpoint, devices = self.checkpoint, self.devices
        self._judge_again = self._describing.job is not None
        if checkpoint is not None and not self._judge_again:
            self._judging.start(lambda context: find_problems(checkpoint, devices, context))

    def borrow(self) -> Checkpoint:
        """Return the open checkpoint and keep its file open until `give_back`, whatever this window does meanwhile."""
        assert self.checkpoint is not None
        return self._loans.lend(self.checkpoint)

    def give_back(self, checkpoint: Checkpoint) -> None:
        """Undo one `borrow`."""
        self._loans.give_back(checkpoint)

    def close(self) -> None:
        """Cancel every read and give the file back."""
        self.opening = None
        self.jobs.cancel_all()
        self.scan.close()
        self.jobs.wait(5000)
        self.scan.wait(5000)
        self._let_go()

    def _let_go(self) -> None:
        for latest in (self._describing, self._judging, self._indexing):
            latest.cancel()
        self.marking.close()
        self.scan.close()
        self.jobs.cancel_all()
        checkpoint, self.checkpoint = self.checkpoint, None
        self.index = self.overview = self.selected = None
        self.problems = ()
        if checkpoint is not None:
            self._loans.retire(checkpoint)

    def _on_loaded(self, job: Job, loaded: Loaded) -> None:
        if job is not self.opening:
            loaded.checkpoint.close()
            return
        self.opening = None
        self._let_go()
        self.checkpoint, self.index, given = loaded
        if self.checkpoint.locator.map_location is not self.map_location:  # chosen while the file was being opened
            self.checkpoint.map_onto(self.map_location)
        self.scan.open(self.checkpoint, self.index)
        self.marking.open(self.checkpoint, self.index, given)
        self.opened.emit()
        found = self.find(self._wanted)
        self.select(found if found is not None else self.checkpoint.root)
        if found is None:
            self.trouble.emit(NoSuchNode(f"there is nothing at {self._wanted!r}; the root is selected instead"))

    def _on_failed(self, job: Job, error: BaseException) -> None:
        if job is self.opening:
            self.opening = None
            self._let_go()
            self.error = error
            self.failed.emit(error)

    def _on_cancelled(self, job: Job) -> None:
        if job is self.opening:
            self._on_failed(job, Cancelled("opening was stopped"))

    def _on_described(self, result: Any) -> None:
        self.overview, self.problems = result
        self.described.emit()
        self.problemsChanged.emit()
        if self._judge_again:
            self.judge()

    def _on_description_failed(self, error: BaseException) -> None:
        self.error = error
        self.described.emit()

    def _on_indexed(self, index: TreeIndex) -> None:
        self.index = index
        if self.checkpoint is not None:
            self.scan.open(self.checkpoint, index)
        self.indexed.emit()
        self.marking.show_in(index)

    def _on_corrected(self) -> None:
        if self._indexing.job is not None:  # it may have looked before the user spoke
            self.regroup(self.grouped)
        self.describe()

    def _on_judged(self, problems: Any) -> None:
        self.problems = problems
        self.problemsChanged.emit()
