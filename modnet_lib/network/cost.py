"""What layers and networks cost: Eq. 9 to 16 in closed form, and as measured."""

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def convolution_parameters(c_out: int, c_in: int, k: int) -> int:
    """Eq. 9: weights of a convolution without bias, C_out * C_in * K * K."""
    return c_out * c_in * k * k


def convolution_flops(c_out: int, c_in: int, k: int, h_out: int, w_out: int) -> int:
    """Eq. 10: FLOPs of a convolution, C_in * 2 * K * K * H_out * W_out * C_out (an addition counts as one)."""
    return c_in * 2 * k * k * h_out * w_out * c_out


def aspp_parameters(c: int, k: int = 3, m: int = 5) -> int:
    """Eq. 11: m * c**2 * (k**2 + 1)."""
    return m * c**2 * (k**2 + 1)


def aspp_flops(c: int, h: int, w: int, k: int = 3, m: int = 5) -> int:
    """Eq. 12: (2 k**2 + 2) * m * c * (h w c)."""
    return (2 * k**2 + 2) * m * c * (h * w * c)


def easpp_parameters(c: int, k: int = 3, m: int = 5, reduction: int = 4) -> int:
    """Eq. 13, (2 c**2 + (k**2 + 1) m c) / 4; with ``reduction=1`` the reducing convolution is left out."""
    inner = c // reduction
    reduce = c * inner if reduction > 1 else 0
    return reduce + inner * m * k * k + inner * m + inner * c


def easpp_flops(c: int, h: int, w: int, k: int = 3, m: int = 5, reduction: int = 4) -> int:
    """Eq. 14, (c + (k**2 + 1) m / 2) * (h w c); with ``reduction=1`` without the reducing convolution."""
    return 2 * h * w * easpp_parameters(c, k, m, reduction)


def parameter_ratio(c: int, k: int = 3, m: int = 5, reduction: int = 4) -> Fraction:
    """Eq. 15, exactly: weights of e-ASPP over those of ASPP, about 0.01."""
    return Fraction(easpp_parameters(c, k, m, reduction), aspp_parameters(c, k, m))


def flop_ratio(c: int, k: int = 3, m: int = 5, reduction: int = 4) -> Fraction:
    """Eq. 16, exactly: FLOPs of e-ASPP over those of ASPP, about 0.01 (the map's size cancels)."""
    return Fraction(easpp_flops(c, 1, 1, k, m, reduction), aspp_flops(c, 1, 1, k, m))


def count_parameters(module: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = ()) -> int:
    """Parameters of a module; with `kind` only the weights (not biases) of submodules of these types."""
    if not kind:
        return sum(parameter.numel() for parameter in module.parameters())
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, kind))  # type: ignore[union-attr,operator]


def count_flops(module: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one forward pass as torch counts them (convolutions and matrix products; norms are not)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()
