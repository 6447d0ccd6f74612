"""safetensors, one file or several with an index, as the reference writer and Hugging Face's libraries write them.

Sources: safetensors/src/tensor.rs (`prepare`: order, header), safetensors/torch.py (`save_model`: shared tensors),
huggingface_hub/serialization (`split_state_dict_into_shards_factory`: packing, names, index); FORMATS 7.3.

The format knows neither strides nor storages. A strided tensor is written row by row. Of tensors that are the same in
every respect one is written, the first in alphabetical order, and the metadata says of the others whose copies they
are, as `save_model` does; tensors that share only some of their bytes are written in full, and a warning says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ckpt_viewer.core.checkpoint import Checkpoint
from ckpt_viewer.core.dtype import DTYPES
from ckpt_viewer.core.progress import SILENT, Context, drain, stepped
from ckpt_viewer.core.tensor import TensorSpec
from ckpt_viewer.core.value import Mapping, Value
from ckpt_viewer.errors import CannotExport
from ckpt_viewer.export.blocks import Meter, StepBytes
from ckpt_viewer.export.cargo import Cargo, CastCounts, Options
from ckpt_viewer.export.claim import Claim, claim_of
from ckpt_viewer.export.comparer import differs
from ckpt_viewer.export.copier import Copier
from ckpt_viewer.export.flat import Counted, Flat, flat_tensors
from ckpt_viewer.export.new_metadata import said_of_metadata
from ckpt_viewer.export.recipe import FileRecipe, reopened
from ckpt_viewer.export.shards import INDEX, Index, pack, shard_names
from ckpt_viewer.export.sharing import Shared, listed, shared
from ckpt_viewer.formats.safetensors import HEADER_LIMIT
from ckpt_viewer.formats.safetensors_header import DTYPE_OF, METADATA

CODE_OF = {dtype: code for code, dtype in DTYPE_OF.items() if not DTYPES[dtype].bits}
"""dtype -> the format's name of it."""
_RANK = {dtype: -rank for rank, dtype in enumerate(CODE_OF)}
"""The order of the data: the types that need the greatest alignment come first."""
DEFAULT = Options()
MOST_TWINS = 5
"""Tied tensors that are named one by one."""
WHERE = "a safetensors file"
FORMAT = {"format": "pt"}
"""What transformers wants to see in the metadata."""
ALIGNMENT = LENGTH = 8
"""Bytes; what the header is padded to, and what its length takes before it."""


class File(NamedTuple):
    """One safetensors file.

    Attributes:
        flats: its tensors, in order. metadata: text -> text. header: length, JSON and padding. counted: copies them.
    """

    flats: list[Flat]
    metadata: dict[str, str]
    header: bytes | bytearray
    counted: Counted

    @property
    def nbytes(self) -> int:
        """Length of the file in bytes."""
        return len(self.header) + self.copied_bytes

    @property
    def copied_bytes(self) -> int:
        """Bytes of the tensors."""
        return sum(flat.nbytes for flat in self.flats)

    def write(self, copier: Copier) -> None:
        """Append the whole file; raises SourceError, Damaged, WriteFailed, Cancelled."""
        copier.write(self.header)
        for _ in self.counted.copy_each(self.flats, copier):
            pass

    def verify(self, path: Path, meter: Meter) -> None:
        """Compare what our reader finds with the source; raises WriteFailed where they differ."""
        reopened(path, meter, self.check)

    def claim(self) -> Claim:
        """Return what the safetensors library has to find in the file; it gives names in alphabetical order."""
        flats = sorted(self.flats, key=lambda flat: flat.name)
        cast = {flat.name: flat.dtype for flat in flats if flat.dtype != flat.tensor.dtype}
        claim = claim_of({flat.name: flat.tensor for flat in flats}, cast)
        return claim._replace(loader="safetensors", strides=False)

    def check(self, copy: Checkpoint, step: StepBytes) -> None:
        """Compare names, order, dtypes, shapes, places and metadata; raises WriteFailed where they differ."""
        root = copy.contents.root
        if not isinstance(root, Mapping) or root.pairs[::2] != [flat.name for flat in self.flats]:
            raise differs("the names of its entries")
        found = root.state.get(METADATA) if isinstance(root.state, Mapping) else None
        if not isinstance(found, Mapping) or found.string_items() != self.metadata:
            raise differs("its metadata")
        begin = len(self.header)
        for flat, tensor in zip(self.flats, root.pairs[1::2], strict=True):
            if not _is(flat, begin, tensor):
                raise differs(flat.name)
            begin += flat.nbytes
            step(0)


def _is(flat: Flat, begin: int, tensor: Value) -> bool:
    """Whether our reader found a tensor as it was written at byte `begin`."""
    if not isinstance(tensor, TensorSpec) or tensor.storage is None or tensor.offset:
        return False
    extent = tensor.storage.extent()
    return (tensor.dtype, tensor.shape, extent.offset, extent.nbytes) == (flat.dtype, flat.shape, begin, flat.nbytes)


class Safetensors(NamedTuple):
    """An export to safetensors.

    Attributes:
        shards: the files. warnings, dropped: see `Recipe`.
    """

    shards: list[File]
    warnings: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Length of all files; of several with the index that a short name of the target makes."""
        return sum(recipe.nbytes for _, recipe in self.files(Path("model.safetensors")))

    @property
    def copied_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(shard.copied_bytes for shard in self.shards)

    def files(self, target: Path) -> list[tuple[Path, FileRecipe]]:
        """Return the one file; or ``model-00001-of-00002.safetensors`` and so on, and behind them their index."""
        if len(self.shards) == 1:
            return [(target.with_name(target.name.removesuffix(INDEX)), self.shards[0])]
        names, index = shard_names(target.name, len(self.shards))
        files: list[tuple[Path, FileRecipe]] = [
            (target.with_name(name), shard) for name, shard in zip(names, self.shards, strict=True)
        ]
        held = {name: shard.flats for name, shard in zip(names, self.shards, strict=True)}
        return [*files, (target.with_name(index), Index(held))]

    def counts(self) -> dict[str, CastCounts]:
        """Return what casts did to the values, by name."""
        return {name: found for shard in self.shards for name, found in shard.counted.counts.items()}

    def discard(self, context: Context) -> None:
        """Free the lists of tensors; raises Cancelled."""
        for shard in self.shards:
            drain(shard.flats, context)


def plan_safetensors(cargo: Cargo, options: Options = DEFAULT, context: Context = SILENT) -> Safetensors:
    """Decide how to write a cargo.

    Raises:
        CannotExport: a tensor cannot be written faithfully, or its name cannot (named in the message).
        Cancelled: by `context`.
    """
    flats, others = flat_tensors(cargo, WHERE, _refusal, context)
    same = shared(cargo, context)
    kept = [flat for flat in stepped(flats, context) if flat.name not in same.twins]
    texts = {name: value for name, value in others.items() if isinstance(value, str) and _is_free_text(name, value)}
    dropped = [name for name in others if name not in texts]
    shards = [_file(held, same.twins, context) for held in pack(kept, options.max_shard_size, context)]
    shards[0].metadata.update(texts)
    warnings = [*_warnings(same, list(texts), dropped), *said_of_metadata(cargo.metadata, WHERE)]
    return Safetensors([_with_header(file, context) for file in shards], tuple(warnings), (*dropped, *same.twins))


def _refusal(name: str, dtype: str) -> str:
    if name == METADATA:
        return f"has the name that the format keeps for itself (rename it: --rename {METADATA}=NEW)"
    if not _is_text(name):
        return "has a name that is no valid text"
    return "" if dtype in CODE_OF else f"is {dtype}, for which the format has no name"


def _is_text(*texts: str) -> bool:
    """Whether texts can be written as UTF-8: lone surrogates cannot."""
    try:
        return all(text.encode() is not None for text in texts)
    except UnicodeEncodeError:
        return False


def _is_free_text(name: str, value: str) -> bool:
    return name not in FORMAT and _is_text(name, value)


def _warnings(same: Shared, texts: list[str], dropped: list[str]) -> list[str]:
    warnings = [
        f"{name!r} is the same tensor as {kept!r}, which is the name that is written; the metadata says so"
        for name, kept in list(same.twins.items())[:MOST_TWINS]
    ]
    if len(same.twins) > MOST_TWINS:
        warnings.append(f"so are {len(same.twins) - MOST_TWINS} more, each written under the first name it has")
    if same.overlapping:
        warnings.append(
            f"tensors that share memory in part are written in full, each on its own: {listed(same.overlapping)}"
        )
    if texts:
        warnings.append(f"texts are kept in the metadata: {listed(texts)}")
    if dropped:
        warnings.append(f"left out, being no tensors: {listed(dropped)}")
    return warnings


def _file(flats: list[Flat], twins: dict[str, str], context: Context) -> File:
    """Return a file, its header still to be made."""
    flats.sort(key=lambda flat: (_RANK[flat.dtype], flat.name))
    names = {flat.name for flat in stepped(flats, context)}
    metadata = FORMAT | {name: kept for name, kept in twins.items() if kept in names and name not in FORMAT}
    return File(flats, metadata, b"", Counted())


def _with_header(file: File, context: Context) -> File:
    """Return the file with its header; raises CannotExport where that is longer than the format allows."""
    text = bytearray(LENGTH)
    text += f'{{"{METADATA}":{_json(file.metadata)}'.encode()
    begin = 0
    for flat in stepped(file.flats, context):
        shape = list(flat.shape)
        if flat.dtype == "float4_e2m1fn_x2" and shape:  # torch counts bytes, the format numbers
            shape[-1] *= 2
        end = begin + flat.nbytes
        entry = {"dtype": CODE_OF[flat.dtype], "shape": shape, "data_offsets": [begin, end]}
        text += f",{_json(flat.name)}:{_json(entry)}".encode()
        begin = end
    text += b"}"
    text += b" " * (-len(text) % ALIGNMENT)
    length = len(text) - LENGTH
    if length > HEADER_LIMIT:
        raise CannotExport(
            f"the names make a header of {length} bytes, and the format allows {HEADER_LIMIT}; choose a smaller "
            "--max-shard-size or write a .pth"
        )
    text[:LENGTH] = length.to_bytes(LENGTH, "little")
    return file._replace(header=text)


def _json(value: object) -> str:
    """As serde_json writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
