"""In which order a histogram is made: a sample, every value, the exact edges; and again for each part one looks at."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from ckpt_viewer.errors import CheckpointError
from ckpt_viewer.gui.file_scan import ScanState
from ckpt_viewer.gui.jobs import Latest
from ckpt_viewer.gui.panels import counting
from ckpt_viewer.gui.panels.counting import Seen, Target
from ckpt_viewer.gui.panels.picture import Wish

if TYPE_CHECKING:
    from ckpt_viewer.core.tensor import TensorSpec
    from ckpt_viewer.gui.session import Session
    from ckpt_viewer.stats.profile import Profile

KEPT = 32
"""Tensors whose numbers are kept, and pictures, so that going back reads nothing."""
ENOUGH_BITS = 7
"""Bits of the cells from which a picture can be drawn: of many tensors a scan keeps wider ones."""
CALM_MS = 250
"""How long one has to look at a part of the axis before the file is read for it."""

PAINT_MS = 20
"""How long the window has to paint a sample before every value is counted on all cores."""


class HistogramFlow(QObject):
    """Starts jobs for a Target and a Wish; tells of each better answer."""

    seen = Signal(object)
    """A Seen; more may follow."""
    settled = Signal()
    """The last one was final."""
    failed = Signal(object)
    progressed = Signal(object, object)

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._target: Target | None = None
        self._wish = Wish()
        self._seen: Seen | None = None
        self._profiles: OrderedDict[int, tuple[TensorSpec, Profile]] = OrderedDict()
        self._pictures: OrderedDict[tuple[tuple[int | str, ...], Wish], Seen] = OrderedDict()
        self._look, self._count, self._draw, self._settle = (Latest(session.jobs, self) for _ in range(4))
        for latest in self._all:
            latest.failed.connect(self.failed)
        self._look.finished.connect(self._take)
        self._count.finished.connect(self._on_counted)
        self._draw.finished.connect(self._take)
        self._settle.finished.connect(self._take)
        for latest in (self._count, self._settle):
            latest.progressed.connect(self.progressed)
        self._calm = QTimer(self, singleShot=True, interval=CALM_MS)
        self._calm.timeout.connect(self._go_on)
        session.opened.connect(self.forget)
        session.indexed.connect(self.forget)
        session.scan.changed.connect(self._on_scanned)

    @property
    def _all(self) -> tuple[Latest, ...]:
        return self._look, self._count, self._draw, self._settle

    def show(self, target: Target, wish: Wish) -> None:
        """Look at something else."""
        self.cancel()
        self._target, self._wish = target, wish
        kept = self._pictures.get((target.key, wish))
        if kept is not None:
            self._take(kept._replace(target=target))
        elif target.container is not None:
            self._look_below(target, wish)
        else:
            known = self._known(target)
            self._look.start(lambda context: counting.first_look(target, wish, known, context))

    def _look_below(self, target: Target, wish: Wish) -> None:
        below, index = self._session.scan.below(target.container), self._session.index
        if below is not None:
            self._look.start(lambda context: counting.scanned(target, below, wish, context))
        elif index is not None:
            self._look.start(lambda context: counting.first_look_below(target, index, wish, context))

    def _on_scanned(self) -> None:
        """The scan has gone on: what was shown of a container by a sample is known now."""
        target, seen = self._target, self._seen
        sampled = seen is not None and seen.sample
        if (
            target is not None
            and target.container is not None
            and sampled
            and self._session.scan.state is ScanState.DONE
        ):
            self._look_below(target, self._wish)

    def redraw(self, wish: Wish) -> None:
        """Draw the same otherwise: other bins, another axis, a part of it."""
        target, seen = self._target, self._seen
        if wish == self._wish or target is None:
            return
        self._wish = wish
        self._calm.stop()
        self._settle.cancel()
        kept = self._pictures.get((target.key, wish))
        if seen is None:
            self.show(target, wish)
        elif kept is not None:
            self._draw.cancel()
            self._take(kept)
        else:
            self._draw.start(lambda _: counting.redrawn(seen, wish))

    def cancel(self) -> None:
        """Stop reading."""
        self._calm.stop()
        for latest in self._all:
            latest.cancel()
        self._target = self._seen = None

    def forget(self) -> None:
        """Another file is open, or what is below a container is another thing."""
        self._profiles.clear()
        self._pictures.clear()

    @property
    def is_busy(self) -> bool:
        """Whether a better answer will come."""
        return self._calm.isActive() or any(latest.job is not None for latest in self._all)

    def _known(self, target: Target) -> dict[int, Profile]:
        """Return what was counted before, here or by the scan of the whole file."""
        found = {}
        for tensor in target.tensors:
            kept = self._profiles.get(id(tensor))
            scanned = self._session.scan.profile(tensor) if kept is None else kept[1]
            if scanned is not None and not isinstance(scanned, CheckpointError) and scanned.cells.bits >= ENOUGH_BITS:
                found[id(tensor)] = scanned
        return found

    def _on_counted(self, seen: Seen) -> None:
        self._keep(seen)
        if seen.picture is None or seen.picture.wish == self._wish:
            self._take(seen)
            return
        self._seen, wish = seen, self._wish
        self._draw.start(lambda _: counting.redrawn(seen, wish))

    def _keep(self, seen: Seen) -> None:
        for tensor, profile, partial in zip(seen.target.tensors, seen.profiles, seen.partial, strict=False):
            if not partial:
                self._profiles[id(tensor)] = tensor, profile
        while len(self._profiles) > KEPT:
            self._profiles.popitem(last=False)

    def _take(self, seen: Seen) -> None:
        """Tell of an answer, and begin what follows it."""
        if self._seen is None:
            self._keep(seen)
        self._seen = seen
        self.seen.emit(seen)
        if seen is not self._seen:  # whoever heard of it has asked for something else
            return
        if seen.final:
            if not seen.sample:
                self._pictures[seen.target.key, self._wish] = seen
            while len(self._pictures) > KEPT:
                self._pictures.popitem(last=False)
            self.settled.emit()
            self._on_scanned()
        elif seen.sample:
            self._calm.start(PAINT_MS)
        else:
            self._calm.start(CALM_MS if seen.picture is not None and seen.picture.wish.zoomed else 0)

    def _go_on(self) -> None:
        seen, wish = self._seen, self._wish
        if seen is None:
            return
        name = seen.target.names[0] if len(seen.target.names) == 1 else f"{len(seen.target.names)} tensors"
        if not seen.sample:
            title = f"Counting the values of {name} between exact edges"
            self._settle.start(lambda context: counting.settled(seen, context), title=title)
        elif self._count.job is None:
            title, kernels_for = f"Counting the values of {name}", self._session.kernels_for
            self._count.start(lambda context: counting.count_all(seen, wish, context, kernels_for), title=title)
