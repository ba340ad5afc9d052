"""The premise of SOC: in the source domain s~ and alpha~ agree. A fitted semantic head restores it."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open

from modnet_lib import paths
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.devices import resize
from modnet_lib.images import to_tensor
from modnet_lib.inference.matter import SHORT_SIDE
from modnet_lib.network import MODNet
from modnet_lib.network.layers import upsample
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.training.frames import Frames, watch

SOURCE, SOURCE_SIDE = "source_disagreement", "source_short_side"  # in a network's metadata


def input_side(network: MODNet, wanted: int | None = None) -> int:
    """The short side of the network's input: `wanted`, else what its checkpoint names."""
    return wanted or int(network.metadata.get("short_side", SHORT_SIDE))


def fit_semantic_head(
    network: MODNet, samples: Sequence[MattingSample], side: int | None = None, steps: int = 250
) -> MODNet:
    """Restore what SOC builds on: in the labelled source domain, s~ and alpha~ agree.

    By Eq. 2 alone, and only for the last convolution of S (1,281 weights on MobileNetV2): d~ and alpha~ stay as they
    are, bit for bit. The last quarter of the samples is not fitted; the disagreement there is what remains in the
    source domain, and goes into the metadata, for this size, as ``source_disagreement``.

    Parameters
    ----------
    network
        A trained MODNet of the paper's variant (the released one's head looks at another map), on any device; it is not
        changed.
    samples
        At least four labelled pictures of the source domain.
    side
        See `input_side`.
    steps
        Of Adam, with all samples at once.
    """
    if len(samples) < 4 or network.config["variant"] != "paper":
        raise ValueError(f"expected four samples and a paper variant, got {len(samples)}, {network.config}")
    network, side = copy.deepcopy(network).eval(), input_side(network, side)
    branch, frames, rows = network.semantic_branch, Frames([one.image for one in samples], side), []
    device = next(network.parameters()).device
    with torch.no_grad():
        for number, sample in enumerate(samples):
            image = frames[number].to(device)
            target = semantic_target(resize(to_tensor(sample.alpha), *image.shape[2:]).to(device))
            rows.append((image, branch(image * 2 - 1, False)[0], target))
    held_out = len(rows) // 4
    optimizer = torch.optim.Adam(branch.head.parameters(), lr=2e-3)
    for _ in range(steps):
        found = [(torch.sigmoid(upsample(branch.head(top), 2)), goal) for _, top, goal in rows[:-held_out]]
        loss = torch.stack([F.mse_loss(semantic, goal) for semantic, goal in found]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    apart = watch(network, [image for image, *_ in rows[-held_out:]])["disagreement"]
    network.metadata = network.metadata | {SOURCE: f"{apart:.5f}", SOURCE_SIDE: str(side)}
    return network


def with_semantic_head(network: MODNet, path: str | Path = paths.SEMANTIC_HEAD) -> MODNet:
    """The network with another semantic head, as `fit_semantic_head` left it; by default the shipped one's."""
    network = copy.deepcopy(network)
    with safe_open(path, "pt") as file:
        state, told = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    try:
        network.semantic_branch.head.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} is the head of another network: {error}") from error
    network.metadata = network.metadata | {key: told[key] for key in (SOURCE, SOURCE_SIDE)}
    return network
