"""S4D in PyTorch with the names of the S4 code's example, written from the formulas: for tests of foreign networks."""

from __future__ import annotations

import math

import torch
from torch import nn


class Kernel(nn.Module):
    """``K[h, l] = 2 Re sum_n C_n (exp(dt A_n) - 1) / A_n exp(l dt A_n)``; its arrays may have any number of states."""

    def __init__(self, H: int, N: int) -> None:
        super().__init__()
        self.C = nn.Parameter(torch.randn(H, N, 2) * math.sqrt(0.5))
        self.log_dt = nn.Parameter(torch.rand(H) * math.log(100.0) + math.log(1e-3))
        self.log_A_real = nn.Parameter(torch.full((H, N), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(N).repeat(H, 1))

    def forward(self, L: int) -> torch.Tensor:
        A = torch.complex(-torch.exp(self.log_A_real), self.A_imag)
        dtA = A * torch.exp(self.log_dt)[:, None]
        weights = torch.view_as_complex(self.C) * (torch.exp(dtA) - 1.0) / A
        powers = torch.exp(dtA[..., None] * torch.arange(L))
        return 2 * torch.einsum("hn,hnl->hl", weights, powers).real


class S4D(nn.Module):
    """Convolution and D, activation, gate; (batch, H, L)."""

    def __init__(self, H: int, N: int) -> None:
        super().__init__()
        self.D, self.kernel, self.activation = nn.Parameter(torch.randn(H)), Kernel(H, N), nn.GELU()
        self.output_linear = nn.Sequential(nn.Conv1d(H, 2 * H, 1), nn.GLU(dim=-2))

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        L = u.shape[-1]
        k, v = (torch.fft.rfft(part, n=2 * L) for part in (self.kernel(L), u))
        return self.output_linear(self.activation(torch.fft.irfft(k * v, n=2 * L)[..., :L] + u * self.D[:, None]))


class S4Model(nn.Module):
    """Encoder, layers with skips and norms behind them, mean over time, decoder; (batch, L, channels) in."""

    def __init__(self, channels: int = 2, classes: int = 3, H: int = 4, N: int = 8, layers: int = 2) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(channels, H), nn.Linear(H, classes)
        self.s4_layers = nn.ModuleList(S4D(H, N) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(H) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(x).mT
        for layer, norm in zip(self.s4_layers, self.norms):
            x = norm((x + layer(x)).mT).mT
        return self.decoder(x.mean(dim=-1))
