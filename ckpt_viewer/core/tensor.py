"""Storages and tensors as a file describes them; no bytes are held here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ckpt_viewer.core.forms import storage_form, tensor_form

if TYPE_CHECKING:
    from ckpt_viewer.core.value import Value


class Bytes(Protocol):
    """Random access to bytes; `ckpt_viewer.sources` has the implementations."""

    name: str

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes at `offset`.

        Raises:
            SourceError: they cannot be had (cut off, changed, device error).
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes at `offset`; raises as `read_at` does."""


class Extent(NamedTuple):
    """Where the bytes of one storage lie.

    Attributes:
        source: what to read from.
        offset: bytes from the start of `source`.
        nbytes: length in bytes.
        big_endian: whether the components of a number have to be swapped.
        crc: CRC-32 that the container states, None where it states none.
    """

    source: Bytes
    offset: int
    nbytes: int
    big_endian: bool = False
    crc: int | None = None


def bottom(source: Any, offset: int) -> tuple[Any, int]:
    """Return the source that a slice of a slice ... is of, and where `offset` is in it."""
    while hasattr(source, "source") and hasattr(source, "offset"):
        offset += source.offset
        source = source.source
    return source, offset


class StorageHome(Protocol):
    """The container that a storage lives in: finds its bytes on demand."""

    prefix: str

    def extent(self, key: str) -> Extent:
        """Return where the bytes of storage `key` lie.

        Raises:
            Damaged: the container has no such record, or a shorter one than the pickle claims.
        """


class StorageSpec:
    """One block of bytes that tensors view. Compared by identity: one object for each storage of a file.

    Attributes:
        form: what it has in common with others, so that 100,000 storages take little memory.
        key: name of the record inside its container.
        home: the container; None for a storage without bytes (meta).
    """

    __slots__ = ("form", "home", "key")

    def __init__(self, key: str, location: str | None, dtype: str, numel: int, home: StorageHome | None) -> None:
        self.form = storage_form(location, dtype, numel)
        self.key, self.home = key, home

    @property
    def location(self) -> str | None:
        """Device tag as saved, e.g. ``"cuda:1"``; None where the container knows no devices."""
        return self.form.location

    @property
    def dtype(self) -> str:
        """Name of the storage class's dtype, ``""`` if untyped."""
        return self.form.dtype

    @property
    def numel(self) -> int:
        """Elements of `dtype` (bytes if untyped)."""
        return self.form.numel

    @property
    def nbytes(self) -> int:
        """Length in bytes, header and padding excluded."""
        return self.form.nbytes

    @property
    def unique_key(self) -> str:
        """A name that is unique within the checkpoint, also among nested blobs."""
        return (self.home.prefix if self.home else "") + self.key

    def extent(self) -> Extent:
        """Return where the bytes lie; raises Damaged, also where this storage has none."""
        from ckpt_viewer.errors import Damaged, Lost

        if self.home is None:
            raise Damaged(f"storage {self.key!r} has no bytes in this file")
        try:
            extent = self.home.extent(self.key)
        except Lost:
            if self.nbytes:
                raise
            from ckpt_viewer.core.lost import NO_BYTES  # of a broken file that is all there is of it

            return NO_BYTES
        if extent.nbytes < self.nbytes:
            raise Damaged(f"storage {self.key!r} has {extent.nbytes} bytes, its tensors need {self.nbytes}")
        return extent

    def cpu(self) -> Placed:
        """For a callable map_location: ``lambda storage, tag: storage.cpu()``."""
        return Placed("cpu")

    def cuda(self, index: int | None = None) -> Placed:
        """For a callable map_location: ``lambda storage, tag: storage.cuda(1)``."""
        return Placed(f"cuda:{index or 0}")

    def __repr__(self) -> str:
        return f"StorageSpec({self.unique_key!r}, {self.location!r}, {self.dtype or 'untyped'}, numel={self.numel})"


class Placed(NamedTuple):
    """A storage that a callable map_location has put on `device`."""

    device: str


class TensorSpec:
    """A view of a storage.

    Attributes:
        storage: the bytes; None for meta, uninitialised and composite (sparse, nested) tensors.
        form: what it has in common with others, so that 100,000 tensors take little memory.
        extra: whatever only few tensors have; None for most.
    """

    __slots__ = ("extra", "form", "storage")

    def __init__(
        self,
        storage: StorageSpec | None,
        dtype: str,
        shape: tuple[int, ...] | None,
        stride: tuple[int, ...] | None,
        offset: int = 0,
        requires_grad: bool = False,
        type: str = "torch.Tensor",
        extra: TensorExtra | None = None,
    ) -> None:
        self.storage, self.extra = storage, extra
        self.form = tensor_form(dtype, shape, stride, offset, requires_grad, type)

    @property
    def dtype(self) -> str:
        """Name without ``torch.``; ``""`` where the file does not say (uninitialised parameters)."""
        return self.form.dtype

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Sizes in elements; None where there is none (nested, uninitialised)."""
        return self.form.shape

    @property
    def stride(self) -> tuple[int, ...] | None:
        """Elements, not bytes; None where the layout is not strided."""
        return self.form.stride

    @property
    def offset(self) -> int:
        """Elements from the start of the storage."""
        return self.form.offset

    @property
    def requires_grad(self) -> bool:
        """As saved."""
        return self.form.requires_grad

    @property
    def type(self) -> str:
        """Class as in the file, ``"torch.Tensor"`` or ``"torch.nn.parameter.Parameter"`` as a rule."""
        return self.form.type

    @property
    def numel(self) -> int:
        """Number of elements; for a nested tensor those of its buffer, 0 for an uninitialised one."""
        if self.form.shape is not None or self.extra is None:
            return self.form.numel
        return sum(part.numel for name, part in self.extra.parts.items() if name in ("buffer", "values"))

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take; for a composite tensor those of its parts."""
        if self.extra is not None and self.extra.parts:
            return sum(part.nbytes for part in self.extra.parts.values())
        return self.form.nbytes

    @property
    def layout(self) -> str:
        """``strided``, ``sparse_coo``, ``sparse_csr`` ..., ``jagged``."""
        return self.extra.layout if self.extra else "strided"

    @property
    def location(self) -> str | None:
        """Device tag as saved; that of the first part for a composite tensor."""
        if self.storage is not None:
            return self.storage.location
        if self.extra is None:
            return None
        if self.extra.device is not None:
            return self.extra.device
        return next((part.location for part in self.extra.parts.values()), None)

    def with_(self, **changes: Any) -> TensorSpec:
        """Return a copy with some attributes replaced."""
        copy = TensorSpec.__new__(TensorSpec)
        copy.storage, copy.extra = changes.pop("storage", self.storage), changes.pop("extra", self.extra)
        copy.form = self.form.with_(**changes)
        return copy

    def __repr__(self) -> str:
        shape = "?" if self.shape is None else list(self.shape)
        return f"TensorSpec({shape}, {self.dtype}, {self.storage!r})"


class Quantization(NamedTuple):
    """How stored integers become numbers: ``(q - zero_point) * scale``.

    Attributes:
        scheme: ``per_tensor_affine``, ``per_channel_affine`` or ``per_channel_affine_float_qparams``.
        scale, zero_point: numbers (per tensor), else one-dimensional tensors or lists of numbers.
        axis: dimension that the channels run along, None per tensor.
    """

    scheme: str
    scale: Value
    zero_point: Value
    axis: int | None = None


class TensorExtra:
    """What only few tensors have.

    Attributes:
        layout: see `TensorSpec.layout`.
        conj, neg: whether values are the stored ones conjugated, negated.
        quantization: for quantised dtypes.
        parts: component tensors: ``indices``/``values``, ``crow_indices``..., ``buffer``.
        sizes: of a nested tensor's members, where the pickle states them.
        device: device argument of tensors that are no views of a tagged storage (xla, meta, wrapper subclasses).
        rebuilt: whether `device` follows the rules for such tensors (FORMATS 4) instead of those for storages.
        data: bytes that lie in the pickle itself, native order, row-major.
        coalesced: of a sparse COO tensor, None where not stated.
        state: attributes saved with the tensor (a Mapping or tuple as pickled), None without.
        arguments: what else was passed to a rebuild function that we show as it is.
    """

    __slots__ = (
        "arguments", "coalesced", "conj", "data", "device", "layout", "neg", "parts", "quantization",
        "rebuilt", "sizes", "state",
    )  # fmt: skip

    def __init__(
        self,
        *,
        layout: str = "strided",
        conj: bool = False,
        neg: bool = False,
        quantization: Quantization | None = None,
        parts: dict[str, TensorSpec] | None = None,
        sizes: Value = None,
        device: str | None = None,
        rebuilt: bool = False,
        data: bytes | None = None,
        coalesced: bool | None = None,
        state: Value = None,
        arguments: Value = None,
    ) -> None:
        self.layout, self.conj, self.neg, self.quantization = layout, conj, neg, quantization
        self.parts, self.sizes, self.device, self.rebuilt = parts or {}, sizes, device, rebuilt
        self.data, self.coalesced, self.state, self.arguments = data, coalesced, state, arguments

    def with_(self, **changes: object) -> TensorExtra:
        """Return a copy with some attributes replaced."""
        fields = {name: getattr(self, name) for name in TensorExtra.__slots__}
        return TensorExtra(**{**fields, **changes})
