"""Which program wrote a zip, by the names of its records. FORMATS section 1.2."""

from __future__ import annotations

from ckpt_viewer.formats.zip_directory import ZipDirectory


def holds_files(archive: ZipDirectory) -> bool:
    """Whether it may be an ordinary zip; asked last of all."""
    return bool(archive.records)
