"""The one way to a file of resources/: icons, the sample checkpoint, the MIME package.

In a checkout they lie in resources/ beside the package; a wheel carries them inside it, as ckpt_viewer/_resources.
Imported before the first paint, so pathlib is not imported here but where a Path is wanted.
"""

# ruff: noqa: PTH100, PTH110, PTH112, PTH118, PTH120
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ckpt_viewer.errors import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
APP_ICON = "ckpt-viewer"
ICON_SIZES = (16, 24, 32, 48, 64, 128, 256)


def folder() -> str:
    """The folder that holds the resources: the checkout's if there is one, else the wheel's."""
    checkout = os.path.join(os.path.dirname(_PACKAGE), "resources")
    return checkout if os.path.isdir(os.path.join(checkout, "sample")) else os.path.join(_PACKAGE, "_resources")


def resource(*parts: str) -> Path:
    """The path of one resource, e.g. ``resource("mime", "ckpt-viewer.xml")``.

    Raises:
        Unreadable: the installation is incomplete.
    """
    from pathlib import Path

    return Path(_existing(*parts))


def sample_checkpoint() -> Path:
    """A small resume checkpoint in torchvision's form, saved on ``cuda:1``; `ckpt-viewer demo` opens it."""
    return resource("sample", "model_3.pth")


def app_icon(size: int = 256) -> str:
    """The path of the program's icon as a PNG of `size` pixels, one of ICON_SIZES.

    Raises:
        Unreadable: the installation is incomplete.
    """
    return _existing("icons", "hicolor", f"{size}x{size}", "apps", f"{APP_ICON}.png")


def _existing(*parts: str) -> str:
    path = os.path.join(folder(), *parts)
    if not os.path.exists(path):
        raise Unreadable(f"the program's own file {path} is missing; install ckpt_viewer again")
    return path
