"""What a written file is called unless somebody says otherwise."""

from __future__ import annotations

from pathlib import Path

from ckpt_viewer.core.location import Locator, MapLocation, leave_on_cpu
from ckpt_viewer.errors import CannotExport

SAFETENSORS = ".safetensors"
"""The one suffix that torch.load goes by: a file of torch.save that has it is none to torch."""


def remap_target(path: str, map_location: MapLocation = "cpu") -> Path:
    """Return the default name of a remapped copy: ``last.cpu.ckpt``, ``x.cpu.pth.tar``, ``x.cuda0.pth``."""
    return beside(path, _word(map_location))


def remap_folder(path: str, map_location: MapLocation = "cpu") -> Path:
    """Return that of a copied set, a folder: ``model.cpu`` beside ``model.bin.index.json``."""
    given = Path(path)
    return given.with_name(f"{given.name.partition('.')[0] or given.name}.{_word(map_location)}")


def slim_target(path: str, map_location: MapLocation = None) -> Path:
    """Return that of a copy without its optimizer: ``model_3.slim.pth``, ``model_3.slim.cpu.pth``."""
    return beside(path, "slim" if map_location is None else f"slim.{_word(map_location)}")


def _word(map_location: MapLocation) -> str:
    word = "cpu" if map_location is leave_on_cpu else Locator(map_location).text
    plain = word.replace(":", "")
    return plain if plain.isalnum() else "remapped"


SUFFIXES = (".pth.tar", ".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".index.json", ".npz", ".npy")
"""Of checkpoints; an export ends with the suffix of what it is."""


def export_target(path: str, suffix: str) -> Path:
    """Return the default name of an export: ``model_3.state_dict.pth`` for ``model_3.ckpt``, in the same folder."""
    name = Path(path).name
    stem = next((name[: -len(each)] for each in SUFFIXES if name.lower().endswith(each)), name)
    return Path(path).with_name(f"{stem or name}.state_dict{suffix}")


def beside(path: str, word: str) -> Path:
    """Return `path`, a file of torch.save, with a word before its suffix; ``.pth.tar`` counts as one."""
    given = Path(path)
    if given.suffix == SAFETENSORS:
        given = given.with_suffix(".pth")
    suffix = ".pth.tar" if given.name.lower().endswith(".pth.tar") else given.suffix
    stem = given.name[: len(given.name) - len(suffix)]
    return given.with_name(f"{stem}.{word}{given.name[len(stem) :]}")


def check_name(target: Path, format_name: str) -> None:
    """Refuse a name that hides from torch.load what is written; raises CannotExport."""
    if format_name == "pth" and target.name.endswith(SAFETENSORS):
        raise CannotExport(
            f"torch.load takes a file called {target.name!r} for one of safetensors, whatever is in it; choose a name "
            "that ends in .pth"
        )
