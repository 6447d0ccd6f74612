"""Render the icons: each SVG of resources/icons/hicolor/scalable as PNGs, and the Windows icon file.

    python packaging/make_icons.py

Run it after changing an SVG and commit what it writes.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ckpt_viewer.resources import APP_ICON, ICON_SIZES  # noqa: E402

ICONS = ROOT / "resources" / "icons"
OVERSAMPLING = 4


def render(svg: Path, size: int) -> bytes:
    """Return `svg` as a PNG of `size` by `size` pixels."""
    renderer = QSvgRenderer(str(svg))
    if not renderer.isValid():
        raise SystemExit(f"make_icons.py: {svg} is not an SVG that Qt can draw")
    factor = OVERSAMPLING if size < 64 else 1
    image = QImage(size * factor, size * factor, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.render(painter)
    painter.end()
    if factor > 1:
        image = image.scaled(
            size, size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(data.data())


def ico(pictures: dict[int, bytes]) -> bytes:
    """A Windows icon file that holds `pictures`, PNGs by their size in pixels."""
    head = struct.pack("<HHH", 0, 1, len(pictures))
    offset = len(head) + 16 * len(pictures)
    entries = b""
    for size, png in pictures.items():
        entries += struct.pack("<BBBBHHII", size % 256, size % 256, 0, 0, 1, 32, len(png), offset)
        offset += len(png)
    return head + entries + b"".join(pictures.values())


def main() -> None:
    """Write all pictures."""
    application = QGuiApplication([])
    for svg in sorted((ICONS / "hicolor" / "scalable").glob("*/*.svg")):
        pictures = {size: render(svg, size) for size in ICON_SIZES}
        for size, png in pictures.items():
            target = ICONS / "hicolor" / f"{size}x{size}" / svg.parent.name / f"{svg.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(png)
        if svg.stem == APP_ICON:
            (ICONS / f"{APP_ICON}.ico").write_bytes(ico(pictures))
        print(f"{svg.stem}: {', '.join(str(size) for size in pictures)} px")
    application.quit()


if __name__ == "__main__":
    main()
