"""Modules that torch.jit.script can compile: it needs their source in a file."""

from __future__ import annotations

import torch


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin(x)


class Tree(torch.nn.Module):
    """Buffers of both sorts, a frozen parameter, attributes that are tensors, an empty slot."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(2))
        self.register_buffer("dropped", torch.zeros(2), persistent=False)
        self.plain = torch.arange(3.0)
        self.scale = torch.nn.Parameter(torch.rand(2), requires_grad=False)
        self.layers = torch.nn.Sequential(torch.nn.Conv1d(2, 2, 1), torch.nn.BatchNorm1d(2))
        self.register_parameter("nothing", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) * self.scale.sum() + self.kept.sum() + self.dropped.sum() + self.plain.sum()


class Shared(torch.nn.Module):
    """One module under two names, one parameter in two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(2, 2)
        self.b = self.a
        self.c = torch.nn.Linear(2, 2)
        self.c.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x)))
