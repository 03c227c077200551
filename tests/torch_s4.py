"""S4 (diagonal plus low rank) in PyTorch with the names of the S4 code's example, written from the formulas."""

from __future__ import annotations

import math

import torch
from torch import nn


class Diagonal(nn.Module):
    """The kernel of S4D by the bilinear rule, (1, H, L): ``2 Re sum_n C_n B_n d/(1 - d/2 A_n) pole_n^l``."""

    def __init__(self, H: int, N: int) -> None:
        super().__init__()
        self.inv_dt = nn.Parameter(torch.rand(H, 1) * math.log(20.0) + math.log(5e-3))
        self.C = nn.Parameter(torch.randn(1, H, N, 2) * math.sqrt(0.5))
        self.B = nn.Parameter(torch.ones(1, H, N, 2) * math.sqrt(0.5))
        self.A_real = nn.Parameter(torch.full((H, N), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(N).repeat(H, 1))

    def parts(self) -> tuple[torch.Tensor, ...]:
        """Steps (H, 1), A, B and C of each channel."""
        A = -torch.exp(self.A_real) - 1j * self.A_imag
        return torch.exp(self.inv_dt), A, torch.view_as_complex(self.B)[0], torch.view_as_complex(self.C)

    def forward(self, state: None = None, rate: float = 1.0, L: int | None = None) -> tuple[torch.Tensor, None]:
        d, A, B, C = self.parts()
        half = d / 2 * A
        powers = (torch.log((1 + half) / (1 - half))[..., None] * torch.arange(L)).exp()
        return 2 * torch.einsum("chn,hnl->chl", C * B * d / (1 - half), powers).real, None


class LowRank(Diagonal):
    """The kernel of S4: the stored C is ``C (1 - dA^length)``, so that no power of A is needed.

    At the roots of unity ``w`` of that length the transform of the kernel is ``d C M^-1 B`` on ``[v, conj v]`` with
    ``M = diag(1 - w - d/2 (1 + w) A) + d/2 (1 + w) p p^*``, whose inverse is Woodbury's.
    """

    def __init__(self, H: int, N: int, length: int) -> None:
        super().__init__(H, N)
        self.P = nn.Parameter(torch.randn(1, H, N, 2))
        self.register_buffer("l_kernel", torch.tensor(length))

    def forward(self, state: None = None, rate: float = 1.0, L: int | None = None) -> tuple[torch.Tensor, None]:
        d, A, B, C = self.parts()
        length = int(self.l_kernel)
        w = torch.exp(-2j * math.pi / length * torch.arange(length // 2 + 1, dtype=torch.float64)).to(A)
        A, B, C, p = (torch.cat([v, v.conj()], dim=-1)[..., None] for v in (A, B, C, torch.view_as_complex(self.P)[0]))
        share = d[..., None] / 2 * (1 + w)
        one = 1 / (1 - w - share * A)  # (H, 2N, roots)
        share = share[:, 0]
        direct, into, out = (C * one * B).sum(dim=-2), (p.conj() * one * B).sum(dim=-2), (C * one * p).sum(dim=-2)
        again = (p.conj() * one * p).sum(dim=-2)
        found = d * (direct - share * out * into / (1 + share * again))
        return torch.fft.irfft(found, n=length)[..., :L], None


class Convolution(nn.Module):
    """Convolution and D, activation; (batch, L, H)."""

    def __init__(self, H: int, kernel: nn.Module) -> None:
        super().__init__()
        self.D, self.kernel, self.activation = nn.Parameter(torch.randn(1, H)), kernel, nn.GELU()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        u, L = x.mT, x.shape[1]
        k, v = (torch.fft.rfft(part, n=2 * L) for part in (self.kernel(L=L, rate=1.0, state=None)[0][0], u))
        return self.activation((torch.fft.irfft(k * v, n=2 * L)[..., :L] + u * self.D[0][:, None]).mT), None


class S4Block(nn.Module):
    """A layer and what mixes its channels; (batch, H, L)."""

    def __init__(self, H: int, d_state: int = 16, mode: str = "dplr", length: int = 60, **how: str) -> None:
        super().__init__()
        assert how in ({}, {"disc": "bilinear", "init": "diag-lin"})
        N = d_state // 2
        self.layer = Convolution(H, Diagonal(H, N) if mode == "diag" else LowRank(H, N, length))
        self.output_linear = nn.Sequential(nn.Linear(H, 2 * H), nn.GLU(dim=-1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.output_linear(self.layer(x.mT)[0]).mT, None


class S4Model(nn.Module):
    """Encoder, blocks with skips and norms behind them, mean over time, decoder; (batch, L, channels) in."""

    def __init__(
        self, channels: int = 1, classes: int = 3, H: int = 4, layers: int = 2, d_state: int = 16, length: int = 60
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(channels, H), nn.Linear(H, classes)
        self.s4_layers = nn.ModuleList(S4Block(H, d_state, length=length) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(H) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(x).mT
        for layer, norm in zip(self.s4_layers, self.norms):
            x = norm((x + layer(x)[0]).mT).mT
        return self.decoder(x.mean(dim=-1))
