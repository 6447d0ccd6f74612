"""Which torch a state_dict needs to be loaded, where not every one since 1.6 will do. FORMATS 3.4 and 7.1."""

from __future__ import annotations

from ckpt_viewer.export.pieces import CLASS_OF

UNTYPED = (2, 1)
"""First release that loads a tensor over an untyped storage (`_rebuild_tensor_v3`)."""
KEPT_BITS = (2, 0)
"""First release that loads a tensor that is kept conjugated or negated (7 arguments)."""
COALESCED = (2, 1)
"""First release that loads a sparse COO tensor that states whether it is coalesced (4 items)."""
COMPRESSED = (1, 13)
"""First release that loads all compressed sparse layouts in the form of `_rebuild_sparse_tensor`."""
QUANTISED = (2, 4)
"""First release that loads a quantised tensor with ``weights_only=True`` (pytorch PR 124330); others do since 1.6."""

SINCE = {
    "float8_e4m3fnuz": (2, 2), "float8_e5m2fnuz": (2, 2), "uint16": (2, 3), "uint32": (2, 3), "uint64": (2, 3),
    "float8_e8m0fnu": (2, 7), "float4_e2m1fn_x2": (2, 8), "quint4x2": (1, 8), "quint2x4": (1, 11),
}  # fmt: skip
"""dtype -> first release that has it, where that is later than what its storage needs anyway."""


class Needs:
    """What has been written so far, and the oldest torch that can load it."""

    def __init__(self) -> None:
        self.release, self._why = (1, 6), ""
        self._is_quantised = False

    def because(self, release: tuple[int, int], why: str) -> None:
        """Note that something needs `release`."""
        if release > self.release:
            self.release, self._why = release, why

    def dtype(self, dtype: str) -> None:
        """Note that there is a tensor of a dtype."""
        release = SINCE.get(dtype, (1, 6))
        self.because(release if dtype in CLASS_OF else max(release, UNTYPED), f"the dtype {dtype}")

    def quantised(self) -> None:
        """Note that there is a quantised tensor."""
        self._is_quantised = True

    def said(self) -> list[str]:
        """Return a sentence that says which torch is needed, and why; nothing where 1.6 does."""
        if self._is_quantised and self.release < QUANTISED:
            release, how, why = QUANTISED, " with weights_only=True", "a quantised tensor"
        elif self._why:
            release, how, why = self.release, "", self._why
        else:
            return []
        return [f"torch {'.'.join(map(str, release))} or newer is needed to load the file{how}, because of {why}"]
