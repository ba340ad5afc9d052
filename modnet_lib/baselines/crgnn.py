"""CRGNN, Video Matting via Consistency-Regularized Graph Neural Networks (Wang et al.; ICCV 2021)."""

import torch
from torch import Tensor, nn

from modnet_lib.baselines.base import BaselineOutput, Batch
from modnet_lib.baselines.blocks import keep_known
from modnet_lib.baselines.indexnet import IndexNet
from modnet_lib.network import Backbone, concat

ROUNDS = 3  # of messages


class Align(nn.Module):
    """Move a neighbour's features to where the middle frame has them, by a deformable convolution."""

    def __init__(self, channels: int):
        super().__init__()
        from torchvision.ops import DeformConv2d

        self.offset = nn.Conv2d(2 * channels, 18, 3, padding=1)
        self.weight = DeformConv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.offset.weight)  # at first an ordinary convolution
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, neighbour: Tensor, middle: Tensor) -> Tensor:
        """Both (N, C, H, W), and the result."""
        offset = self.offset(concat(neighbour, middle)).float()
        with torch.autocast(neighbour.device.type, enabled=False):  # the operation has no bfloat16 on a CPU
            return self.weight(neighbour.float(), offset).to(neighbour.dtype)


class FrameGraph(nn.Module):
    """Frames are nodes, all connected; messages are convolutions of pairs, a gated unit updates the nodes."""

    def __init__(self, channels: int):
        super().__init__()
        self.message = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.gates = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.candidate = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, nodes: list[Tensor]) -> list[Tensor]:
        """Map the frames' features (N, C, H, W) to as many."""
        for _ in range(ROUNDS):
            pairs = [[concat(node, other) for other in nodes if other is not node] for node in nodes]
            messages = [torch.stack([self.message(pair) for pair in some]).mean(0) for some in pairs]
            nodes = [self._update(node, message) for node, message in zip(nodes, messages, strict=True)]
        return nodes

    def _update(self, node: Tensor, message: Tensor) -> Tensor:
        update, reset = torch.sigmoid(self.gates(concat(node, message))).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(concat(reset * node, message)))
        return (1 - update) * node + update * candidate


class CRGNN(IndexNet):
    """IndexNet whose deepest features are exchanged with those of the frames before and after.

    Simplified: only the middle frame is decoded, without F; trained on moved stills (`neighbours`) instead of clips;
    without the consistency term on unlabelled video and without choosing the largest component.
    """

    title, paper = "CRGNN", "Wang et al. 2021"
    required = ("trimap", "clip")

    def __init__(self, backbone: Backbone):
        super().__init__(backbone)
        self.align, self.graph = Align(160), FrameGraph(160)

    def predict(self, image: Tensor, trimap: Tensor, clip: Tensor) -> BaselineOutput:  # type: ignore[override]
        middle, skips = self.encode(torch.cat((image, trimap), dim=1) * 2 - 1)
        others = [self.encode(frame * 2 - 1)[0] for frame in clip.unbind(dim=1)]
        nodes = self.graph([middle, *(self.align(other, middle) for other in others)])
        return BaselineOutput(keep_known(self.decode(nodes[0], skips), trimap), {})

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        return {"trimap": batch.trimap, "clip": neighbours(batch.image, batch.trimap)}


def neighbours(image: Tensor, trimap: Tensor, reach: int = 6) -> Tensor:
    """Stand-ins for the frames before and after a still, (N, 2, 4, H, W).

    Image and trimap are moved there and back by up to `reach` pixels, alike in the whole batch.
    """
    dy, dx = torch.randint(-reach, reach + 1, (2,)).tolist()
    frame = torch.cat((image, trimap), dim=1)
    return torch.stack([frame.roll((way * dy, way * dx), (2, 3)) for way in (-1, 1)], dim=1)
