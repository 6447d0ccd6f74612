"""The window's knowledge of the training: whether it can go on, its optimizers, and which state is whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ckpt_viewer.core.progress import stepped
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.watch import Watch

if TYPE_CHECKING:
    from ckpt_viewer.analysis.optimizer import Joined, OptimizerView
    from ckpt_viewer.analysis.overview import Overview
    from ckpt_viewer.analysis.resume import Resume
    from ckpt_viewer.core.checkpoint import Checkpoint
    from ckpt_viewer.core.outline import Outline
    from ckpt_viewer.core.progress import Context
    from ckpt_viewer.gui.file_scan import FileScan
    from ckpt_viewer.gui.session import Session


class Link(NamedTuple):
    """One parameter of an optimizer: which of them, and what belongs to it."""

    view: OptimizerView
    joined: Joined


class Training(NamedTuple):
    """What is known.

    Attributes:
        going_on: the resume check, with what a scan of the values found once it is done.
        places: for each piece of its advice the row of the outline that it is about.
        by_tensor: id of a weight's TensorSpec -> its state. by_state: row of a state's entry -> the same.
    """

    going_on: Resume
    places: tuple[int, ...]
    by_tensor: Mapping[int, Link]
    by_state: Mapping[int, Link]

    def with_values(self, checkpoint: Checkpoint, view: Overview, scan: FileScan, context: Context) -> Training:
        """Return the same with what the scan found; raises Cancelled."""
        nan, infinite = unsound_rows(checkpoint.outline, scan, context)
        going_on = self.going_on.with_values(checkpoint, view, nan, infinite)
        return self._replace(going_on=going_on, places=_places(checkpoint.outline, going_on))


def look_at_training(checkpoint: Checkpoint, view: Overview, context: Context) -> Training:
    """Work out all but the values; raises Cancelled."""
    from ckpt_viewer.analysis.resume import resume

    going_on = resume(checkpoint, view, context)
    by_tensor, by_state = dict[int, Link](), dict[int, Link]()
    for seen in going_on.optimizers:
        for joined in stepped(seen.joined, context, len(seen.slots)):
            link = Link(seen, joined)
            if joined.slot.row is not None:
                by_state[joined.slot.row] = link
            if joined.weight is not None:
                for tensor in (joined.weight.tensor, *joined.weight.tied):
                    by_tensor[id(tensor)] = link
    return Training(going_on, _places(checkpoint.outline, going_on), by_tensor, by_state)


def _places(outline: Outline, going_on: Resume) -> tuple[int, ...]:
    rows = outline.find_all(each.path for each in going_on.advice)
    return tuple(rows.get(each.path, 0) for each in going_on.advice)


def unsound_rows(outline: Outline, scan: FileScan, context: Context) -> tuple[list[int], list[int]]:
    """Return the rows of tensors with a NaN and with an infinity, each tensor at its first place; raises Cancelled."""
    nan, infinite, seen = [], [], set[int]()
    if not scan.harvest.nan and not scan.harvest.inf:
        return [], []
    for row, tensor in stepped(outline.tensors(), context, len(outline)):
        figures = scan.figures(tensor)
        if figures is None or figures.is_sound or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if figures.nan:
            nan.append(row)
        if figures.inf:
            infinite.append(row)
    return nan, infinite


class TrainingWatch(Watch):
    """Works it out once the file is described, and once more when its values are scanned."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._valued: Any = None
        self._valuing = Latest(session.jobs, self)
        self._valuing.finished.connect(self._on_valued)
        self.ready.connect(self._look_at_values)
        session.described.connect(lambda: self.answer)
        session.scan.changed.connect(self._look_at_values)

    def source(self) -> Any:
        """The overview: another one comes where the user says what a part is."""
        return self._session.overview

    def work(self, source: Overview, context: Context) -> Training:
        """Look through everything but the values."""
        checkpoint = self._session.checkpoint
        assert checkpoint is not None
        return look_at_training(checkpoint, source, context)

    @property
    def training(self) -> Training | None:
        """What is known; None until `ready`. Asking starts the work."""
        answer: Training | None = self.answer
        return answer

    def _look_at_values(self) -> None:
        scan, training = self._session.scan, self._answer
        checkpoint, view = self._session.checkpoint, self._session.overview
        done = scan.state is ScanState.DONE and training is not None and view is self._source
        if not done or checkpoint is None or view is None or self._valued is view:
            return
        self._valued = view
        self._valuing.start(lambda context: training.with_values(checkpoint, view, scan, context))

    def _on_valued(self, training: Training) -> None:
        if self._valued is self._session.overview:
            self._keep(training)
