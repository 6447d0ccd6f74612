"""Which torch an exported state_dict says that it needs."""

import pytest
import torch

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore:ComplexHalf"),
]


def conj():
    return torch.randn(3, dtype=torch.complex64).conj()


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (lambda: torch.ones(2, dtype=torch.float8_e5m2), "torch 2.1 or newer .* because of the dtype float8_e5m2"),
        (
            lambda: torch.ones(2, dtype=torch.float8_e8m0fnu),
            "torch 2.7 or newer .* because of the dtype float8_e8m0fnu",
        ),
        (lambda: torch.ones(2, dtype=torch.uint16), "torch 2.3 or newer .* because of the dtype uint16"),
        (lambda: torch.ones(2, dtype=torch.complex32), "torch 2.1 or newer .* because of the dtype complex32"),
        (conj, "torch 2.0 or newer .* because of a tensor that is kept conjugated"),
        (lambda: torch.eye(3).to_sparse(), "torch 2.1 or newer .* a sparse tensor that says whether it is coalesced"),
        (
            lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "torch 2.4 or newer .* to load the file with weights_only=True, because of a quantised tensor",
        ),
        (lambda: torch.eye(3).to_sparse_csr(), "torch 1.13 or newer .* because of a sparse_csr tensor"),
    ],
)
def test_what_needs_a_newer_torch_says_so(export, tensor, said):
    _, written = export({"a.weight": torch.ones(2), "b.weight": tensor()}, "")
    warning = written.warnings[0]
    release, reason = said.split(" .* ")
    assert warning.startswith(release)
    assert warning.endswith(reason)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64, torch.bool, torch.float64], ids=str)
def test_what_every_torch_since_1_6_loads_says_nothing(export, dtype):
    _, written = export({"a.weight": torch.ones(2).to(dtype)})
    assert written.warnings == ()


def test_the_newest_need_is_named(export):
    value = {
        "a.weight": conj(),
        "b.weight": torch.ones(2, dtype=torch.uint16),
        "c.weight": torch.ones(2).to(torch.float8_e5m2),
    }
    _, written = export(value)
    assert [warning[:18] for warning in written.warnings] == ["torch 2.3 or newer"]
