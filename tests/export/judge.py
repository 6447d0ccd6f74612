"""What the tests of the writers share: tensors of every kind, and comparing them bit for bit."""

from __future__ import annotations

import torch

import ckpt_viewer
from ckpt_viewer.export.plan import plan_remap, write

OLD_DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
NEW_DTYPES = [
    torch.uint16, torch.uint32, torch.uint64, torch.complex32, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]  # fmt: skip


def bits(count, dtype):
    """A tensor of any dtype whose bytes are not all the same."""
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.arange(count * size, dtype=torch.int64).mul(37).remainder(2 if dtype == torch.bool else 251)
    return raw.to(torch.uint8).view(dtype)


def zoo(dtypes):
    base = torch.randn(100)
    named = {str(dtype): bits(12, dtype).reshape(3, 4) for dtype in dtypes}
    return named | {
        "view": base[7:19], "other view": base[10:40:3], "transposed": torch.randn(5, 6).t(),
        "expanded": torch.ones(3, 1).expand(3, 7), "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3),
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2), "leaf": torch.nn.Parameter(torch.randn(3)),
        "tied": named[str(dtypes[0])], "storage": None if dtypes is OLD_DTYPES else torch.randn(4).untyped_storage(),
        "conj": torch.randn(3, dtype=torch.complex64).conj(), "neg": torch.randn(3, dtype=torch.complex64).conj().imag,
    }  # fmt: skip


def assert_same(one, other):
    """Bit for bit, with strides, offsets and what shares memory."""
    assert list(one) == list(other)
    owners = [{}, {}]
    for name, a in one.items():
        b = other[name]
        assert type(a) is type(b)
        if isinstance(a, torch.storage.TypedStorage):  # what torch makes of a storage that was saved by itself
            assert a._untyped_storage.tolist() == b._untyped_storage.tolist()
        elif isinstance(a, torch.Tensor):
            form = [(t.dtype, t.shape, t.stride(), t.storage_offset(), t.requires_grad) for t in (a, b)]
            assert form[0] == form[1], name
            assert (a.is_conj(), a.is_neg()) == (b.is_conj(), b.is_neg())
            assert a.untyped_storage().tolist() == b.untyped_storage().tolist(), name
            first = [seen.setdefault(t.untyped_storage()._cdata, name) for seen, t in zip(owners, (a, b), strict=True)]
            assert a.numel() == 0 or first[0] == first[1]
        else:
            assert a == b


def remap(source, map_location="cpu", target=None):
    with ckpt_viewer.open_checkpoint(source) as checkpoint:
        plan = plan_remap(checkpoint, map_location)
        written = write(plan, target)
    assert written.verified
    return written


def tags(path):
    with ckpt_viewer.open_checkpoint(path) as checkpoint:
        return [tensor.location for _, tensor in checkpoint.outline.tensors()]
