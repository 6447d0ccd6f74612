"""The program under test as a person meets it: its window, what is to be seen there, and what one does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from desktop_driver import SECONDS, Hand, Watched


class Viewer(Watched):
    """ckpt-viewer in the X server. `window`, a part of a title, is needed only while several windows are open."""

    def __init__(self, environ: dict[str, str], errors: Path, *arguments: object) -> None:
        super().__init__(environ, errors, "ckpt-viewer", *map(str, arguments))
        self.hand = Hand(environ["DISPLAY"])

    # --- what is to be seen

    def titles(self) -> list[str]:
        """Return the titles of the windows and dialogs that show, in order."""
        return sorted(each["title"].partition(" – ")[0] for each in self.ask("windows"))

    def window(self, part: str) -> dict[str, Any]:
        """Return the window with `part` in its title, once it is there."""
        found = lambda: [each for each in self.ask("windows") if part in each["title"]]  # noqa: E731
        return self.wait(found, f"a window called {part!r}")[0]

    def widget(self, name: str, window: str = "") -> dict[str, Any]:
        """Return a widget by its object name, once it shows."""
        return self.wait(lambda: self.ask("widget", name, window), f"a widget called {name}")

    def is_shown(self, name: str, window: str = "") -> bool:
        """Return whether a widget shows now."""
        return self.ask("widget", name, window) is not None

    def text(self, name: str, window: str = "") -> str:
        """Return all that a widget says now, a line for each text in it; ``""`` if it does not show."""
        found = self.ask("widget", name, window)
        return "\n".join(self.ask("texts", name, window)) or found["text"] if found else ""

    def says(self, name: str, *parts: str, window: str = "") -> str:
        """Return all that a widget says, once it says these and is not empty."""
        fits = lambda text: text and all(part in text for part in parts)  # noqa: E731
        return self.wait(lambda: self.text(name, window), f"{parts} in {name}", fits)

    def rows(self, name: str = "checkpointTree", window: str = "") -> list[dict[str, Any]]:
        """Return the rows of a table or tree that are on the screen, once there are any."""
        return self.wait(lambda: self.ask("rows", name, window), f"rows in {name}")

    def names(self, name: str = "checkpointTree", window: str = "") -> list[str]:
        """Return the first cells of the rows that are on the screen."""
        return [next(iter(row["cells"].values())) for row in self.rows(name, window)]

    def row(self, name: str, window: str = "") -> dict[str, Any]:
        """Return the tree's row of that name, once there is one."""
        named = lambda: [row for row in self.rows(window=window) if row["cells"]["Name"] == name]  # noqa: E731
        return self.wait(named, f"a row {name!r}")[0]

    def current(self, window: str = "") -> str:
        """Return the name of the tree's current row; ``""`` if it is not on the screen."""
        return next((row["cells"]["Name"] for row in self.rows(window=window) if row["current"]), "")

    def keyboard(self) -> str:
        """Return the object name (or the class) of the widget that has the keyboard."""
        return self.ask("focus")

    # --- what one does

    def focus(self, part: str) -> None:
        """Give a window the keyboard, as a window manager would."""
        window = self.window(part)
        self.hand.do("windowraise", window["id"], "windowfocus", "--sync", window["id"])
        self.becomes(lambda: self.window(part)["active"], True)

    def click(self, name: str, window: str = "") -> None:
        """Click into the middle of a widget."""
        self.hand.click_place(self.widget(name, window)["place"])

    def click_button(self, text: str, inside: str, window: str = "") -> None:
        """Click on the button of that text inside a widget, once it is there."""
        found = lambda: [each for each in self.ask("buttons", inside, window) if each["text"] == text]  # noqa: E731
        self.hand.click_place(self.wait(found, f"a button {text!r} in {inside}")[0]["place"])

    def filter(self, text: str) -> None:
        """Type into the filter above the tree, by the keyboard alone."""
        self.hand.keys("ctrl+f")
        self.becomes(self.keyboard, "treeFilter")
        self.hand.type(text)
        self.becomes(lambda: self.widget("treeFilter")["text"], text)

    def select(self, text: str, name: str) -> None:
        """Select the first match of a filter, a row of that name, by the keyboard alone."""
        self.filter(text)
        self.hand.keys("Down")
        self.becomes(self.keyboard, "checkpointTree")
        self.becomes(self.current, name)

    def answer_dialog(self, title: str, text: str) -> None:
        """Type a path into a file dialog and press Enter; the dialog must go."""
        self.focus(title)
        self.becomes(self.keyboard, "fileNameEdit")
        self.hand.keys("ctrl+a")
        self.hand.type(text)
        self.becomes(lambda: self.widget("fileNameEdit")["text"], text)
        self.hand.keys("Return")
        self.wait(self.titles, f"the dialog {title!r} gone", lambda titles: not any(title in each for each in titles))

    def quit(self) -> None:
        """Press Ctrl+Q; the program must end well and must not have complained."""
        self.hand.keys("ctrl+q")
        assert self.process.wait(SECONDS) == 0
        assert not self.told(), self.told()
