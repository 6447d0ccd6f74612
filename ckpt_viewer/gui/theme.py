"""Light and dark: our own palette, the colours of plots and marks, and one signal when they change."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

CHOICES = ("system", "light", "dark")
"""What View > Theme offers."""


class Theme(NamedTuple):
    """Colours as ``#rrggbb``.

    Attributes:
        name: ``"light"`` or ``"dark"``.
        series: lines and bars of plots, Okabe-Ito, at least 3:1 on `base`.
        heat_map: name of pyqtgraph's colour map for diverging values.
        window, base, raised: behind controls; behind lists, text and plots; cards and every other row.
        text, muted: text; less important text (both at least 4.5:1 on window and base).
        line: borders and plot axes. accent, on_accent: selection and primary buttons; text on it.
        link: links. error, warning, success: severities, at least 3:1; never the only sign.
    """

    name: str
    series: tuple[str, str, str, str]
    window: str
    base: str
    raised: str
    text: str
    muted: str
    line: str
    accent: str
    on_accent: str
    link: str
    error: str
    warning: str
    success: str
    heat_map: str = "CET-CBD1"

    @property
    def dark(self) -> bool:
        """Whether the background is darker than the text."""
        return self.name == "dark"


LIGHT = Theme(
    name="light",
    series=("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    window="#f3f4f6",
    base="#ffffff",
    raised="#f7f8fa",
    text="#1b1d21",
    muted="#5b616b",
    line="#c9cdd4",
    accent="#0a5fa8",
    on_accent="#ffffff",
    link="#0a5fa8",
    error="#b3261e",
    warning="#8a5200",
    success="#1c6e43",
)
DARK = Theme(
    name="dark",
    series=("#56B4E9", "#E69F00", "#009E73", "#CC79A7"),
    window="#26282c",
    base="#1c1e21",
    raised="#2e3136",
    text="#e8eaed",
    muted="#a8aeb8",
    line="#4a4f57",
    accent="#2f7fc6",
    on_accent="#ffffff",
    link="#7cc0f5",
    error="#ff8a80",
    warning="#f2b84b",
    success="#6fcf97",
)


def palette_of(theme: Theme) -> QPalette:
    """Return the QPalette of a theme, disabled roles included."""
    role, palette = QPalette.ColorRole, QPalette()
    colours = {
        role.Window: theme.window,
        role.WindowText: theme.text,
        role.Base: theme.base,
        role.AlternateBase: theme.raised,
        role.Text: theme.text,
        role.Button: theme.raised if theme.dark else theme.window,
        role.ButtonText: theme.text,
        role.BrightText: theme.error,
        role.PlaceholderText: theme.muted,
        role.ToolTipBase: theme.raised,
        role.ToolTipText: theme.text,
        role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent,
        role.Accent: theme.accent,
        role.Link: theme.link,
        role.LinkVisited: theme.link,
        role.Light: "#3a3d43" if theme.dark else "#ffffff",
        role.Midlight: "#33363b" if theme.dark else "#e9ebee",
        role.Mid: theme.line,
        role.Dark: "#17181b" if theme.dark else "#9aa0a8",
        role.Shadow: "#000000" if theme.dark else "#6b7078",
    }
    for each, colour in colours.items():
        palette.setColor(each, QColor(colour))
    faint = QColor(theme.muted)
    faint.setAlphaF(0.6)
    for each in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, faint)
    palette.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(theme.line))
    return palette


class Themes(QObject):
    """Which theme the process shows: what was chosen, else what the system says.

    Attributes:
        choice: ``"system"``, ``"light"`` or ``"dark"``.
    """

    changed = Signal(object)
    """The new Theme, after the palette was set."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = "system"
        self._current = LIGHT
        QGuiApplication.styleHints().colorSchemeChanged.connect(lambda _: self._refresh())

    @property
    def current(self) -> Theme:
        """The theme that is shown."""
        return self._current

    def start(self, choice: str = "system") -> None:
        """Set the palette; once, before the first window. It is made for Fusion: see `application`."""
        self.choice = choice if choice in CHOICES else "system"
        self._current = self._wanted()
        QApplication.setPalette(palette_of(self._current))

    def choose(self, choice: str) -> None:
        """Follow the system, or show light or dark whatever it says.

        Raises:
            ValueError: `choice` is none of CHOICES.
        """
        if choice not in CHOICES:
            raise ValueError(f"no such theme: {choice!r}")
        self.choice = choice
        self._refresh()

    def _wanted(self) -> Theme:
        if self.choice != "system":
            return DARK if self.choice == "dark" else LIGHT
        return DARK if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT

    def _refresh(self) -> None:
        wanted = self._wanted()
        if wanted is not self._current:
            self._current = wanted
            QApplication.setPalette(palette_of(wanted))
            self.changed.emit(wanted)


_themes: Themes | None = None


def themes() -> Themes:
    """The process's one Themes; needs a QApplication."""
    global _themes
    if _themes is None:
        _themes = Themes()
    return _themes


def theme() -> Theme:
    """The theme that is shown now."""
    return themes().current
