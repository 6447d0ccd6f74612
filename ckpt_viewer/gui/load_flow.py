"""Between the box "Load onto", the session and this machine's devices; and what to say where torch.load would fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from ckpt_viewer.core.location import MapLocation
from ckpt_viewer.errors import BadMapLocation
from ckpt_viewer.gui.devices import Devices
from ckpt_viewer.gui.labels import plain
from ckpt_viewer.gui.load_onto import LoadOnto
from ckpt_viewer.gui.messages import Action, Message, Messages
from ckpt_viewer.gui.session import Session

TOPIC = "load"


class LoadFlow(QObject):
    """Keeps the box true, and passes on what is chosen in it."""

    def __init__(
        self, session: Session, widget: LoadOnto, messages: Messages, devices: Devices, window: QWidget
    ) -> None:
        super().__init__(window)
        self._session, self._widget, self._messages, self._devices = session, widget, messages, devices
        self._window = window
        widget.box.chosen.connect(self.choose)
        widget.box.rulesWanted.connect(self.ask_rules)
        for signal in (session.described, session.remapped):  # `described` follows `opened` once the tree is painted
            signal.connect(self.refresh)
        session.failed.connect(self._on_failed)
        session.problemsChanged.connect(self._say_problems)
        devices.changed.connect(self._on_devices)
        self._on_devices()

    def choose(self, map_location: MapLocation) -> None:
        """Map everything anew."""
        try:
            self._session.set_map_location(map_location)
        except BadMapLocation as error:
            self._messages.report(error)

    def ask_rules(self) -> None:
        """Ask for a table of rules and map by it."""
        from ckpt_viewer.gui.rules_dialog import RulesDialog

        session = self._session
        current = session.map_location if isinstance(session.map_location, Mapping) else {}
        if session.overview is None:
            return
        locations = session.overview.locations
        dialog = RulesDialog(locations, session.devices, current, Path(session.path).name, self._window)
        if dialog.exec():
            self.choose(dialog.table or None)
        dialog.deleteLater()

    def refresh(self) -> None:
        """Fill the box and the line of code with what is known now."""
        session = self._session
        tags = [tag for tag, _ in session.overview.locations] if session.overview is not None else []
        self._widget.box.offer(tags, self._devices.names, session.device_note, session.map_location)
        of_several = session.checkpoint is not None and session.checkpoint.contents.source is None
        self._widget.show_open("" if session.checkpoint is None else "folder" if of_several else "file")
        if session.checkpoint is None:
            self._widget.code.show_code("")
            return
        from ckpt_viewer.analysis.loading import load_code

        self._widget.code.show_code(load_code(session.checkpoint))

    def _on_devices(self) -> None:
        self._session.set_devices(self._devices.tags, self._devices.note)
        self.refresh()

    def _on_failed(self, error: BaseException) -> None:
        """What was shown before is not there any more, and so nothing of it loads anywhere."""
        del error
        self._messages.drop(TOPIC)
        self.refresh()

    def _say_problems(self) -> None:
        problems = self._session.problems
        if not problems:
            self._messages.drop(TOPIC)
            return
        targets = list(dict.fromkeys(plain(problem.target, 30) for problem in problems))
        verb = "is" if len(targets) == 1 else "are"
        text = (
            f"{', '.join(targets[:4])}{' and more' if len(targets) > 4 else ''} {verb} not on this computer. "
            f"Everything is shown all the same. torch.load would say: {plain(problems[0].message, 400)}"
        )
        action = Action("Load onto CPU", lambda: self.choose("cpu"))
        self._messages.post(Message("warning", text, (action,), topic=TOPIC))
