"""A small denoiser in PyTorch with layers as aTENNuate stores them: coarser, finer, a skip; written from the formulas.

The file lists its layers by name (down, last, middle, up); they run down, middle, up, last.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import silu, softplus


class SSMLayer(nn.Module):
    """``y = Re(C x)``, ``x_t = pole x_{t-1} + d B u_t``, ``pole = exp(d (-softplus(A_0) + i A_1))``; B and C real."""

    def __init__(self, states: int, channels: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.stack([torch.zeros(states), math.pi * torch.arange(states) / 4], dim=1))
        self.B = nn.Parameter(torch.randn(states, channels) / math.sqrt(channels))
        self.C = nn.Parameter(torch.randn(channels, states) * math.sqrt(2 / states))
        self.log_dt = nn.Parameter(torch.linspace(math.log(0.05), math.log(0.5), states))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        L, d = u.shape[-1], self.log_dt.exp()
        rate = d * torch.complex(-softplus(self.A[:, 0]), self.A[:, 1])
        powers = (rate[:, None] * torch.arange(L)).exp().real
        kernel = torch.einsum("pn,nm,nl->pml", self.C, d[:, None] * self.B, powers)
        lag = torch.arange(L)[:, None] - torch.arange(L)
        return torch.einsum("pmts,bms->bpt", kernel[:, :, lag.clamp(min=0)] * (lag >= 0), u)


class Denoiser(nn.Module):
    """Mono in and out, (N, 1, L); L even."""

    def __init__(self, states: int = 6, width: int = 3) -> None:
        super().__init__()
        self.down, self.up = SSMLayer(states, 1), SSMLayer(states, 1)
        self.middle = nn.Sequential(nn.Conv1d(width, width, 3, 1, 1), SSMLayer(states, width), nn.SiLU())
        self.last = nn.Sequential(SSMLayer(states, 1))
        self.coarser, self.finer = nn.Linear(2, width), nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = silu(self.down(x))
        u = self.coarser(u.unflatten(-1, (-1, 2))[:, 0]).mT
        u = self.finer(self.middle(u).mT).flatten(1)[:, None]
        return self.last(silu(self.up(u + x)))
