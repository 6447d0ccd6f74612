"""All windows of the process: one a file, a file that is open is raised, very many at once are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from ckpt_viewer.core.progress import Context
from ckpt_viewer.gui import collector
from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.jobs import JobRunner
from ckpt_viewer.gui.role_memory import RoleMemory
from ckpt_viewer.gui.settings import Settings
from ckpt_viewer.gui.turns import window_works

if TYPE_CHECKING:
    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.gui.compare.flow import Comparisons
    from ckpt_viewer.gui.main_window import MainWindow
    from ckpt_viewer.gui.qt_classes import ClassMaker

MANY = 8
"""Windows that are opened at once without asking."""


class Windows(QObject):
    """Opens, finds and counts windows; owns what they share.

    Attributes:
        devices: this machine's. writes: runs the jobs that write files, one after another.
        settings: what is remembered.
    """

    empty = Signal()
    """The last window is gone."""
    painted = Signal(object)
    """A window has painted its tree."""
    started = Signal()
    """The first tree is painted, or a window stands there without one: now is the time for what is slow and shared."""
    panelsReady = Signal()
    """The modules of the detail panels are imported; emitted once."""
    picturesReady = Signal()
    """So is what draws and counts; emitted once."""
    failed = Signal(object)
    """A window could not open its file: the error."""

    def __init__(self, devices: Devices | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.devices = devices if devices is not None else Devices(parent=self)
        self.writes = JobRunner(self, threads=1)
        self.settings = Settings()
        self.background = JobRunner(self, threads=1)
        collector.spare(self.writes)
        self._warm = False
        self._classes: ClassMaker | None = None
        self.panels_are_ready = self.pictures_are_ready = False
        self._comparisons: Comparisons | None = None
        self._windows: list[MainWindow] = []

    @property
    def all(self) -> tuple[MainWindow, ...]:
        """Every window, oldest first."""
        return tuple(self._windows)

    @property
    def comparisons(self) -> Comparisons:
        """Windows that show two files side by side; made when first needed."""
        if self._comparisons is None:
            from ckpt_viewer.gui.compare.flow import Comparisons

            self._comparisons = Comparisons(self)
        return self._comparisons

    def new(self) -> MainWindow:
        """Return another window, empty and not shown yet."""
        from ckpt_viewer.gui.main_window import MainWindow

        window = MainWindow(self)
        window.session.kernels_on = self.devices.kernels_on
        window.session.marking.memory = RoleMemory(self.settings.folder)
        window.session.failed.connect(self.failed)
        scan = window.session.scan
        scan.changed.connect(lambda: collector.keep() if scan.is_done else None)
        session, reason, jobs = window.session, id(window), collector.spare(window.session.jobs)
        session.loading.connect(lambda: collector.pause(reason))
        session.described.connect(lambda: collector.resume(reason, keep=True))
        session.failed.connect(lambda _: collector.resume(reason))
        window.destroyed.connect(lambda: collector.resume(jobs))
        self._windows.append(window)
        return window

    def find(self, path: str) -> MainWindow | None:
        """Return the window that shows a file, under whatever name it was opened."""
        for window in self._windows:
            if window.session.path and _same(window.session.path, path):
                return window
        return None

    def open(
        self,
        paths: Sequence[str],
        near: MainWindow | None = None,
        *,
        map_location: MapLocation = None,
        select: str = "",
        remap: bool = False,
    ) -> None:
        """Show each file in a window of its own.

        Args:
            near: the window that was asked; the first file goes there if it is empty.
            remap: write a copy for the CPU of each as well.
        """
        window_works()
        if len(paths) > MANY:
            from ckpt_viewer.gui.asking import ask_many

            if not ask_many(near, len(paths)):
                return
        near = near or next((each for each in self._windows if each.session.is_empty), None)
        for path in paths:
            window = self.find(path)
            if window is None:
                window = near if near is not None and near.session.is_empty else self.new()
                window.open_file(path, map_location, select, alone=remap)  # a set is not remapped as a whole
            elif map_location is not None:
                window.session.set_map_location(map_location)
            if remap:
                window.remap_when_ready()
            window.come_forward()

    def forget(self, window: MainWindow) -> None:
        """A window was closed."""
        collector.resume(id(window))
        self._windows = [other for other in self._windows if other is not window]
        if not self._windows:
            self.empty.emit()

    def quit(self) -> None:
        """Close every window; one that is writing may refuse, and then the rest stays."""
        for window in self.all:
            if not window.close() and window.isVisible():
                return

    def on_painted(self, window: MainWindow) -> None:
        """A tree stands on the screen."""
        self.painted.emit(window)
        self.warm_up()

    def warm_up(self) -> None:
        """Begin with what the first window did not need; does it once."""
        if self._warm:
            return
        self._warm = True
        collector.resume(collector.STARTING, keep=True)
        self.started.emit()
        from ckpt_viewer.gui.qt_classes import ClassMaker

        self._classes = ClassMaker(self)
        self._classes.ready.connect(self._on_classes)
        self._classes.start()
        self.devices.look()

    def _on_classes(self) -> None:
        self.background.start(_import_panels).ended.connect(self._on_panels)

    def _on_panels(self) -> None:
        self.panels_are_ready = True
        self.panelsReady.emit()
        self.background.start(_import_pyqtgraph).ended.connect(self._on_pictures)

    def _on_pictures(self) -> None:
        self.pictures_are_ready = True
        self.picturesReady.emit()

    def shut_down(self) -> None:
        """Stop everything that runs; call it before the process ends."""
        if self._comparisons is not None:
            self._comparisons.close()
        if self._classes is not None:
            self._classes.stop()
        for runner in (self.background, self.writes, self.devices.jobs):
            runner.cancel_all()
        self.devices.stop()
        collector.resume(collector.STARTING)
        for runner in (self.background, self.writes, self.devices.jobs):
            runner.wait(10_000)
        self.settings.save()


def _same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):
        return Path(one).absolute() == Path(other).absolute()


def _import_panels(context: Context) -> None:
    """Import them on a worker thread: on the GUI thread the window would stand still for 100 ms."""
    context.step(0, 0)
    from ckpt_viewer.gui.panels import registry  # noqa: F401


def _import_pyqtgraph(context: Context) -> None:
    """Import it on a worker thread: 20 ms gaps instead of 250-380 ms on the GUI thread. And what counts a first tensor,
    which would take 200 ms of the time until its picture.
    """
    context.step(0, 0)
    import pyqtgraph  # noqa: F401

    from ckpt_viewer.gui.panels import binning, plot  # noqa: F401
    from ckpt_viewer.stats import preparing, sampling, summary  # noqa: F401
