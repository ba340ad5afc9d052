"""e-ASPP against Appendix A and an independent reference; ASPP; the blocks of the released network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modnet_lib.network import ASPP, EfficientASPP
from modnet_lib.network.layers import EASPP_DILATIONS, IBNorm, SqueezeExcite, concat, upsample


def convolution_weights(module: nn.Module) -> int:
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is None for m in convolutions)
    return sum(m.weight.numel() for m in convolutions)


def test_the_papers_size_has_835_200_weights() -> None:
    with torch.device("meta"):
        assert convolution_weights(EfficientASPP(1280)) == 835_200
        assert convolution_weights(ASPP(1280)) == 81_920_000


def test_reduction_1_is_the_two_per_cent_variant_of_appendix_a() -> None:
    c, m, k = 1280, 5, 3
    with torch.device("meta"):
        module = EfficientASPP(c, reduction=1)
    weights = convolution_weights(module)
    # depth-wise atrous, depth-wise fusion, one point-wise fusion of the channels
    assert weights == c * m * k**2 + c * m + c**2
    assert round(weights / (m * c**2 * (k**2 + 1)), 2) == 0.02
    assert all(scale[0].groups == c for scale in module.scales)


def reference(module: EfficientASPP, x: Tensor) -> Tensor:
    """Fig. 3 written out tap by tap, in evaluation mode."""

    def norm_relu(y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        column = (1, -1, 1, 1)
        y = (y - norm.running_mean.view(column)) / (norm.running_var.view(column) + norm.eps).sqrt()
        return (y * norm.weight.view(column) + norm.bias.view(column)).clamp(min=0)

    height, width = x.shape[2:]
    reduce, fuse_scales, fuse_channels = module.reduce, module.fuse_scales, module.fuse_channels
    x = norm_relu(torch.einsum("oc,nchw->nohw", reduce[0].weight[:, :, 0, 0], x), reduce[1])
    scales = []
    for (conv, norm, _), rate in zip(module.scales, EASPP_DILATIONS, strict=True):
        padded = F.pad(x, (rate,) * 4)
        total = torch.zeros_like(x)
        for i in range(3):
            for j in range(3):
                shifted = padded[:, :, i * rate : i * rate + height, j * rate : j * rate + width]
                total += torch.einsum("c,nchw->nchw", conv.weight[:, 0, i, j], shifted)
        scales.append(norm_relu(total, norm))
    # channel c of the result sees channel c of every scale s
    weights = fuse_scales[0].weight.view(-1, len(scales))
    x = norm_relu(torch.einsum("cs,snchw->nchw", weights, torch.stack(scales)), fuse_scales[1])
    return norm_relu(torch.einsum("oc,nchw->nohw", fuse_channels[0].weight[:, :, 0, 0], x), fuse_channels[1])


@torch.no_grad()
def test_easpp_equals_an_independent_reference(randomise) -> None:
    module = randomise(EfficientASPP(32)).eval()
    x = torch.randn(2, 32, 11, 16)
    torch.testing.assert_close(module(x), reference(module, x), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_scales_are_fused_depth_wise(randomise) -> None:
    module = randomise(EfficientASPP(16)).eval()
    x = torch.randn(1, 16, 8, 8)
    fused: list[Tensor] = []
    module.fuse_scales[0].register_forward_hook(lambda _m, _i, output: fused.append(output.clone()))
    module(x)
    for scale in module.scales:
        for channel in range(4):

            def change(_module, _inputs, output: Tensor, channel: int = channel) -> Tensor:
                output = output.clone()
                output[:, channel] += 1
                return output

            handle = scale.register_forward_hook(change)
            module(x)
            handle.remove()
            changed = (fused[-1] - fused[0]).abs().amax(dim=(0, 2, 3)) > 1e-6
            assert changed.nonzero().flatten().tolist() == [channel]


def live_taps(dilations: tuple[int, ...], size: int) -> list[Tensor]:
    """For each scale, which of the nine taps get a gradient on a map of `size` pixels a side."""
    module = EfficientASPP(32, dilations=dilations)
    output = module(torch.randn(4, 32, size, size))
    (output * torch.randn_like(output)).sum().backward()
    return [scale[0].weight.grad.abs().amax(dim=(0, 1)) > 0 for scale in module.scales]


@pytest.mark.parametrize("size", [16, 8])
def test_every_tap_is_trained_at_512_and_at_256(size: int) -> None:
    assert all(taps.all() for taps in live_taps(EASPP_DILATIONS, size))


def test_larger_rates_would_leave_only_the_centre() -> None:
    (taps,) = live_taps((16,), 16)
    assert taps.nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize("channels", [8, 7])
def test_ibnorm_is_batch_norm_on_one_half_and_instance_norm_on_the_other(channels: int) -> None:
    norm, x = IBNorm(channels), torch.randn(3, channels, 6, 5) * 3 + 1
    half = channels // 2
    nn.init.normal_(norm.batch_norm.weight)
    nn.init.normal_(norm.batch_norm.bias)
    y = norm(x)
    first = (x[:, :half] - x[:, :half].mean((0, 2, 3), keepdim=True)) / (
        x[:, :half].var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    first = first * norm.batch_norm.weight[:, None, None] + norm.batch_norm.bias[:, None, None]
    second = (x[:, half:] - x[:, half:].mean((2, 3), keepdim=True)) / (
        x[:, half:].var((2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(y, torch.cat((first, second), 1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_squeeze_excite_scales_each_channel_by_one_number() -> None:
    module, x = SqueezeExcite(8), torch.rand(2, 8, 4, 5) + 0.5
    y = module(x)
    for n in range(2):
        means = [float(x[n, c].mean()) for c in range(8)]
        hidden = [max(0.0, sum(float(w) * v for w, v in zip(row, means, strict=True))) for row in module.squeeze.weight]
        for c in range(8):
            logit = sum(float(w) * v for w, v in zip(module.excite.weight[c], hidden, strict=True))
            torch.testing.assert_close(y[n, c], x[n, c] * torch.sigmoid(torch.tensor(logit)), rtol=1e-5, atol=1e-6)


def test_upsampling_keeps_pixel_centres_in_place() -> None:
    ramp = (torch.arange(6.0) + 0.5).expand(1, 1, 6, 6)
    large = upsample(ramp, 4)
    expected = (torch.arange(24.0) + 0.5) / 4
    torch.testing.assert_close(large[0, 0, 12, 2:-2], expected[2:-2])


def test_concatenation_keeps_the_type_of_the_features() -> None:
    half, full = torch.ones(1, 2, 3, 3, dtype=torch.bfloat16), torch.ones(1, 1, 3, 3)
    assert concat(half, full).dtype == torch.bfloat16
    assert concat(full, half).dtype == torch.float32
