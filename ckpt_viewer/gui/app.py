"""The window program: QApplication, what it may show itself on, and how it ends. Qt is imported inside `run`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from ckpt_viewer.core.location import MapLocation
    from ckpt_viewer.gui.windows import Windows

LONG_START_MS = 150
"""A start that takes longer has a large file to read. In a short one the switching would cost a tenth of the time."""


class ViewOptions(NamedTuple):
    """What the command line says about windows.

    Attributes:
        map_location: for every file. select: pointer of the node to select, None for the root.
        screenshot: paint into this PNG and end; None to stay open. size: pixels of the window.
    """

    map_location: MapLocation = None
    select: str | None = None
    screenshot: str | None = None
    size: tuple[int, int] | None = None


def run(paths: Sequence[str], options: ViewOptions) -> int:
    """Open a window for each file (an empty one without) and return the exit code once the last is closed.

    Raises:
        CheckpointError: there is no display, or the screenshot cannot be made.
    """
    from ckpt_viewer.gui import collector, display, reading
    from ckpt_viewer.gui.bring_qt import bring_qt

    collector.pause(collector.STARTING)  # it would find nothing and take a tenth of the time until a tree is painted
    reading.prepare()
    platform = display.choose_platform(os.environ, screenshot=options.screenshot is not None)
    if platform:
        os.environ["QT_QPA_PLATFORM"] = platform
    # numpy's threads wait for one another by spinning: one for each core would leave none for the window, and where
    # other programs run too, a decomposition of a second takes minutes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(max(1, (os.cpu_count() or 1) - 1)))
    bring_qt()
    from ckpt_viewer.gui.application import make_application

    application = make_application()
    display.release()
    from ckpt_viewer.gui.windows import Windows

    windows = Windows()
    application.filesWanted.connect(windows.open)
    try:
        return _show(application, windows, paths, options)
    finally:
        for window in windows.all:
            window.session.close()
        windows.shut_down()
        _take_down()


def _take_down() -> None:
    """Hide all windows while what they show is still there.

    The end of the interpreter destroys Qt's objects in no order; a view that it hides then asks a model that is half
    gone, and that ends the process with a segmentation fault (PySide 6.11, half of the runs that show a second tree).
    """
    from PySide6.QtWidgets import QApplication

    for widget in QApplication.topLevelWidgets():
        widget.hide()


def _show(application: QApplication, windows: Windows, paths: Sequence[str], options: ViewOptions) -> int:
    from PySide6.QtCore import QTimer

    from ckpt_viewer.gui import turns
    from ckpt_viewer.gui.application import end_on_signals, window_icon
    from ckpt_viewer.gui.theme import themes

    themes().start(windows.settings.text("theme", "system"))
    windows.empty.connect(application.quit)
    windows.started.connect(lambda: application.setWindowIcon(window_icon()))
    windows.started.connect(turns.share_the_interpreter)
    QTimer.singleShot(LONG_START_MS, application, turns.share_the_interpreter)
    if options.screenshot is not None:
        from ckpt_viewer.gui.screenshot import take_screenshot

        return take_screenshot(application, windows, paths[0], options)
    windows.started.connect(lambda: end_on_signals(application))  # 10 ms, for which a start-up has better use
    errors: list[BaseException] = []
    if os.environ.get("CKPT_VIEWER_EXIT") == "painted":
        windows.painted.connect(lambda _: os._exit(0))  # at once: nothing was written, and tidying up is no start-up
        windows.failed.connect(errors.append)
        windows.failed.connect(application.quit)
    windows.open(paths, map_location=options.map_location, select=options.select or "")
    if not windows.all:
        windows.new().come_forward()
    if options.size is not None:
        for window in windows.all:
            window.resize(*options.size)
    code = application.exec()
    if errors:
        raise errors[0]
    return code
