"""The one way to a file of resources/: icons, the sample checkpoint, the MIME package.

In a checkout they lie in resources/ beside the package; a wheel carries them inside it, as ckpt_viewer/_resources.
"""

from __future__ import annotations

from pathlib import Path

from ckpt_viewer.errors import Unreadable

_PACKAGE = Path(__file__).resolve().parent
APP_ICON = "ckpt-viewer"
DOCUMENT_ICON = "application-x-pytorch-checkpoint"
ICON_SIZES = (16, 24, 32, 48, 64, 128, 256)


def folder() -> Path:
    """The folder that holds the resources: the checkout's if there is one, else the wheel's."""
    checkout = _PACKAGE.parent / "resources"
    return checkout if (checkout / "sample").is_dir() else _PACKAGE / "_resources"


def resource(*parts: str) -> Path:
    """The path of one resource, e.g. ``resource("mime", "ckpt-viewer.xml")``.

    Raises:
        Unreadable: the installation is incomplete.
    """
    path = folder().joinpath(*parts)
    if not path.exists():
        raise Unreadable(f"the program's own file {path} is missing; install ckpt_viewer again")
    return path


def sample_checkpoint() -> Path:
    """A small resume checkpoint in torchvision's form, saved on ``cuda:1``; `ckpt-viewer demo` opens it."""
    return resource("sample", "model_3.pth")


def app_icon(size: int = 256) -> Path:
    """The program's icon as a PNG of `size` pixels, one of ICON_SIZES."""
    return resource("icons", "hicolor", f"{size}x{size}", "apps", f"{APP_ICON}.png")
