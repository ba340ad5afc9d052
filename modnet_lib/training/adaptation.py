"""Adapting MODNet to unlabelled pictures by SOC: frames in, adapted weights out, stopped before it does harm.

Eq. 6 to 8 and the section "SOC for Real-World Data". What stops a run needs no labels: see `adapt`.
"""

import copy
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn
from tqdm.auto import tqdm

from modnet_lib import paths
from modnet_lib.data.manifest import background_files, find_items, sources
from modnet_lib.data.pseudo_mattes import MattingSample
from modnet_lib.files import write_atomically, write_folder_atomically, write_text
from modnet_lib.images import ImageLike, read_image, to_tensor
from modnet_lib.inference.matter import SHORT_SIDE, network_size, resize
from modnet_lib.network import MODNet
from modnet_lib.network.checkpoints import weights_fingerprint
from modnet_lib.network.layers import upsample
from modnet_lib.objectives.consistency import CONSISTENCY, ConsistencyLosses, ConsistencyPreset, disagreement
from modnet_lib.objectives.supervised import semantic_target
from modnet_lib.provenance import file_contents, fingerprint
from modnet_lib.training.state import load_state

STATE = "adaptation.pt"
HISTORY = "adaptation.jsonl"
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
COLLAPSE, WINDOW = 0.8, 20  # a share of the person (or of the background) that is gone, over so many steps
WATCHED = 4  # frames that are looked at after every epoch
SOURCE, SOURCE_SIDE = "source_disagreement", "source_short_side"  # in a network's metadata
Validate = Callable[[MODNet], dict[str, float]]


@dataclass(frozen=True)
class AdaptationConfig:
    """How SOC is run; the defaults are the paper's.

    Attributes
    ----------
    preset
        The objective; see `modnet_lib.objectives.consistency`.
    epochs, learning_rate, betas, batch_size
        Of Adam; the paper does not give the last two.
    weights
        Of the three terms; ``None`` takes the objective's own.
    refresh
        M' becomes the latest M after every epoch (the released code); the paper fixes it.
    freeze_affine
        Normalisation layers keep their weights and biases too, not only their statistics.
    short_side
        Of the network's input, pixels; ``None`` takes what the checkpoint names.
    until
        Early stopping, which is ours: stop when the disagreement is at most this multiple of the source domain's, if
        that is known for this size (see `fit_semantic_head`). With 0 all epochs run, as in the paper.
    checkpoint_every
        Steps; an epoch's end is always kept.
    seed
        Of the order of the frames.
    """

    preset: ConsistencyPreset = "paper"
    epochs: int = 15
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    batch_size: int = 1
    weights: tuple[float, float, float] | None = None
    refresh: bool = False
    freeze_affine: bool = True
    short_side: int | None = None
    until: float = 0.0
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.preset not in CONSISTENCY:
            raise ValueError(f"preset must be one of {', '.join(CONSISTENCY)}, got {self.preset!r}")
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0:
            raise ValueError(f"epochs, batch_size and learning_rate must be positive, got {self}")


PRESETS: dict[str, AdaptationConfig] = {
    "paper": AdaptationConfig(),
    "released": AdaptationConfig(
        "released", epochs=10, learning_rate=1e-5, betas=(0.9, 0.99), refresh=True, freeze_affine=False
    ),
}


class Adaptation(NamedTuple):
    """What `adapt` did.

    Attributes
    ----------
    network
        The adapted network, in evaluation mode.
    history
        A record for every epoch, the untouched network as epoch 0; see `adapt`.
    epoch
        The epoch whose weights were kept; 0 means that the network is as it was.
    stopped
        Why it ended early, or "".
    """

    network: MODNet
    history: list[dict[str, Any]]
    epoch: int
    stopped: str


def fit_semantic_head(
    network: MODNet, samples: Sequence[MattingSample], short_side: int | None = None, steps: int = 250
) -> MODNet:
    """Restore what SOC builds on: in the labelled source domain, s~ and alpha~ agree.

    By Eq. 2 alone, and only for the last convolution of S (1,281 weights on MobileNetV2): d~ and alpha~ stay as they
    are, bit for bit. The last quarter of the samples is not fitted; the disagreement there is what remains in the
    source domain, and goes into the metadata, for this size, as ``source_disagreement``.

    Parameters
    ----------
    network
        A trained MODNet of the paper's variant; it is not changed.
    samples
        At least four labelled pictures of the source domain.
    short_side
        Of the network's input; ``None`` takes what the checkpoint names.
    steps
        Of Adam, with all samples at once.

    Raises
    ------
    ValueError
        For fewer samples, or the released variant, whose head looks at another map.
    """
    if len(samples) < 4 or network.config["variant"] != "paper":
        raise ValueError(f"expected four samples and a paper variant, got {len(samples)}, {network.config}")
    network = copy.deepcopy(network).eval()
    side = short_side or int(network.metadata.get("short_side", SHORT_SIDE))
    branch, rows, images = network.semantic_branch, [], []
    with torch.no_grad():
        for sample in samples:
            size = network_size(sample.alpha.shape[0], sample.alpha.shape[1], side)
            images.append(resize(to_tensor(sample.image), *size))
            target = semantic_target(resize(to_tensor(sample.alpha), *size))
            rows.append((branch(images[-1] * 2 - 1, False)[0], target))
    fitted = rows[: -(len(rows) // 4)]
    optimizer = torch.optim.Adam(branch.head.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = torch.stack([F.mse_loss(torch.sigmoid(upsample(branch.head(top), 2)), g) for top, g in fitted])
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    apart = watch(network, images[len(fitted) :])["disagreement"]
    network.metadata = network.metadata | {SOURCE: f"{apart:.5f}", SOURCE_SIDE: str(side)}
    return network


def with_semantic_head(network: MODNet, path: str | Path = paths.SEMANTIC_HEAD) -> MODNet:
    """The network with another semantic head, as `fit_semantic_head` left it; by default the shipped one's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the head is that of another network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no semantic head at {path}")
    network = copy.deepcopy(network)
    with safe_open(path, "pt") as file:
        state, told = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    try:
        network.semantic_branch.head.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} is the head of another network: {error}") from error
    network.metadata = network.metadata | {key: told[key] for key in (SOURCE, SOURCE_SIDE)}
    return network


def find_frames(
    source: str | Path, folder: str | Path, short_side: int, count: int | None = None
) -> list[Path]:
    """The pictures of a video, of a folder, or of a data set.

    Parameters
    ----------
    source
        A video file, a folder of pictures, or ``NAME:SPLIT`` of a data set below ``MODNET_DATA``.
    folder
        Where a video's frames are stored once, at the size that the network sees, so that reading them in any order
        is cheap. Frames of an earlier video or size are replaced.
    short_side
        Of the network's input.
    count
        Maximum number of frames, evenly spaced.

    Raises
    ------
    FileNotFoundError
        If there is nothing, or no picture in it.
    ValueError
        If a file is no video that can be decoded, `folder` holds other files, or a count is below 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    name, _, split = str(source).partition(":")
    if Path(source).is_dir():
        files = background_files(source)
    elif Path(source).is_file():
        files = _decode(Path(source), Path(folder), short_side)
    elif name in sources():
        files = [item.files["image"] for item in find_items(name, split=split or None)]
    else:
        raise FileNotFoundError(f"{source} is no video, no folder and no data set (NAME:SPLIT)")
    chosen = np.linspace(0, len(files) - 1, min(count or len(files), len(files))).round().astype(int)
    return [files[k] for k in chosen]


def _decode(video: Path, folder: Path, short_side: int) -> list[Path]:
    import av
    from av.error import FFmpegError
    from PIL import Image

    done = folder / "complete.json"
    what = {"video": str(video.resolve()), "bytes": video.stat().st_size, "short_side": short_side}
    if done.is_file() and json.loads(done.read_text(encoding="utf-8")) == what:
        return background_files(folder)
    if folder.is_dir():
        if not done.is_file() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds other files; choose an empty folder for the frames of {video}")
        shutil.rmtree(folder)

    def decode(place: Path) -> None:
        with av.open(str(video)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for number, frame in enumerate(container.decode(video=0)):
                upright = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                height, width = network_size(upright.shape[0], upright.shape[1], short_side)
                small = Image.fromarray(upright).resize((width, height), Image.Resampling.BILINEAR)
                small.save(place / f"{number:06d}.jpg", quality=95, subsampling=0)
        (place / done.name).write_text(json.dumps(what), encoding="utf-8")

    try:
        write_folder_atomically(folder, decode)
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"{video} is no video that can be decoded: {error}") from error
    return background_files(folder)


def batches(
    frames: Sequence[ImageLike], order: Sequence[int], batch_size: int, short_side: int, threads: int = 2
) -> Iterator[list[Tensor]]:
    """Batches in an order, decoded ahead of use by threads; in a batch, frames of one size are one tensor."""

    def load(number: int) -> Tensor:
        tensor = to_tensor(read_image(frames[number]))
        return resize(tensor, *network_size(tensor.shape[2], tensor.shape[3], short_side))

    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(load, number) for number in order[: 4 * batch_size]]
        for start in range(0, len(order), batch_size):
            ahead = order[start + 4 * batch_size : start + 5 * batch_size]
            waiting += [pool.submit(load, number) for number in ahead]
            sizes: dict[tuple[int, ...], list[Tensor]] = {}
            for future in waiting[:batch_size]:
                sizes.setdefault(tuple(future.result().shape), []).append(future.result())
            del waiting[:batch_size]
            yield [torch.cat(group) for group in sizes.values()]


def trainable(network: MODNet, freeze_affine: bool = True) -> list[nn.Parameter]:
    """What SOC changes; the weights and biases of normalisation only if they are not frozen."""
    frozen = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, NORMS) and freeze_affine
        for parameter in module.parameters()
    }
    return [parameter for parameter in network.parameters() if id(parameter) not in frozen]


def adaptation_step(
    network: MODNet,
    frozen: MODNet,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Tensor],
    config: AdaptationConfig,
) -> dict[str, float]:
    """One update of M on a batch; both networks are in evaluation mode, which keeps normalisation as it is.

    Parameters
    ----------
    network, frozen
        M and M'.
    optimizer
        Of M; it takes no step if a term or a gradient is not finite.
    groups
        The batch, (n, 3, H, W) for each size of frame.
    config
        Objective and weights.

    Returns
    -------
    The terms, their weighted sum ``loss``, ``gradient``, the norm of its gradient, and ``person`` and
    ``frozen_person``, the mean of alpha~ and alpha~'.
    """
    optimizer.zero_grad(set_to_none=True)
    total, count = torch.zeros(6, device=groups[0].device), sum(len(group) for group in groups)
    for images in groups:
        with torch.no_grad():
            held = frozen(images, auxiliary=True)
        output = network(images, auxiliary=True)
        losses = CONSISTENCY[config.preset](
            *output, frozen_detail=held.detail, frozen_alpha=held.alpha, weights=config.weights
        )
        share = len(images) / count
        (losses.total * share).backward()
        total += share * torch.stack([*losses, output.alpha.mean(), held.alpha.mean()]).detach()
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradient = nn.utils.get_total_norm([p.grad for p in learning if p.grad is not None])
    names = [*ConsistencyLosses._fields[:-1], "loss", "person", "frozen_person", "gradient"]
    record = dict(zip(names, [*total.tolist(), gradient.item()], strict=True))
    if all(map(math.isfinite, record.values())):
        optimizer.step()
    return record


@torch.no_grad()
def watch(
    network: MODNet, images: Sequence[Tensor], before: Sequence[Tensor] | None = None
) -> dict[str, float]:
    """What can be said of a network without labels.

    Parameters
    ----------
    network
        M, in evaluation mode.
    images
        Frames, (1, 3, H, W) each.
    before
        Their alpha~ at the start, if there is one.

    Returns
    -------
    Means over the frames: ``disagreement``, |G(alpha~) - s~|; ``flip``, |alpha~ - alpha~ of the mirrored frame|;
    ``person``, alpha~; and of the start, ``drift``, |alpha~ - before|, and ``person_before``.
    """
    rows = []
    for image, old in zip(images, before or [None] * len(images), strict=True):
        output = network(image, auxiliary=True)
        mirrored = network(image.flip(3), auxiliary=False).alpha.flip(3)
        old = output.alpha if old is None else old
        apart = disagreement(output.semantic, output.alpha)
        parts = (apart, (output.alpha - mirrored).abs(), output.alpha, (output.alpha - old).abs(), old)
        rows.append(torch.stack([part.mean() for part in parts]))
    names = ("disagreement", "flip", "person", "drift", "person_before")
    return dict(zip(names, torch.stack(rows).mean(dim=0).tolist(), strict=True))


def has_collapsed(person: float, before: float) -> bool:
    """Whether most of what was the person, or of what was background, is gone (mean alphas in [0, 1])."""
    lost, spread = before - person, person - before
    return (lost > COLLAPSE * before and before > 0.02) or (
        spread > COLLAPSE * (1 - before) and before < 0.98
    )


def adapt(
    network: MODNet,
    frames: Sequence[ImageLike],
    config: AdaptationConfig,
    folder: str | Path,
    *,
    validate: Validate | None = None,
    stop_after: int | None = None,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> Adaptation:
    """Adapt a trained network to unlabelled frames; call it again with the same folder to resume.

    After every epoch it looks at up to 4 of the frames (`watch`). Three things end a run, and none needs a label: a
    loss or gradient that is not finite; a collapse, the person or the background gone, also within an epoch; and, with
    ``until``, a disagreement as low as in the source domain, where SOC has nothing left to learn.
    The last good weights are kept, which may be the original ones.

    Parameters
    ----------
    network
        A trained MODNet without trimap input; it is not changed.
    frames
        Paths, PIL images or arrays, of the target domain only.
    config
        See there, and `PRESETS`.
    folder
        Gets ``adaptation.pt`` (everything that resuming needs) and ``adaptation.jsonl`` (a line an epoch).
    validate
        For experiments with labels: its result goes into the history and affects nothing else.
    stop_after
        Stop after this many steps of this call, with a checkpoint, as if interrupted.
    device
        By default a GPU, if there is one.
    show_progress
        Show a bar.

    Returns
    -------
    See `Adaptation`. A record of its history has the means of `adaptation_step` over the epoch, and `watch`.

    Raises
    ------
    ValueError
        If there are no frames, the network takes a trimap, or `folder` holds a run with other frames, another
        network or another configuration; the message names the first difference.
    """
    if not frames:
        raise ValueError("there are no frames to adapt to")
    if network.config["trimap_input"]:
        raise ValueError("SOC adapts a MODNet without trimap_input: new pictures have no trimaps")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    side = config.short_side or int(network.metadata.get("short_side", SHORT_SIDE))
    known = network.metadata.get(SOURCE_SIDE) == str(side)
    identity = {
        # how often a state is saved does not change the result
        "config": dataclasses.asdict(config) | {"short_side": side, "checkpoint_every": None},
        "network": network.config,
        "weights": weights_fingerprint(network),
        SOURCE: float(network.metadata[SOURCE]) if known else 0.0,
        "frames": {str(number): _identify(frame) for number, frame in enumerate(frames)},
    }
    run = _Run(network, config, Path(folder), identity, device)
    chosen = np.linspace(0, len(frames) - 1, min(WATCHED, len(frames))).round().astype(int).tolist()
    watched = [group.to(device) for (group,) in batches(frames, chosen, 1, side)]
    original = copy.deepcopy(network).to(device).eval()
    with torch.no_grad():
        before = [original(image, auxiliary=False).alpha for image in watched]

    def close(epoch: int, means: dict[str, float]) -> None:
        seen = watch(run.network, watched, before)
        run.close_epoch({"epoch": epoch} | means | seen | (validate(run.network) if validate else {}))

    if not run.history:
        close(0, {})
    total = config.epochs * math.ceil(len(frames) / config.batch_size)
    taken, done = 0, run.steps_done
    with tqdm(total=total, initial=done, desc="SOC", unit="step", disable=not show_progress) as bar:
        while not run.stopped and run.epoch < config.epochs and taken != stop_after:
            order = torch.randperm(len(frames), generator=_generator(config.seed, run.epoch)).tolist()
            order = order[run.step * config.batch_size :]
            for groups in batches(frames, order, config.batch_size, side):
                record = run.take([group.to(device) for group in groups])
                taken += 1
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.4f}")
                if run.stopped or taken == stop_after:
                    break
            else:
                close(run.epoch + 1, run.means())
            if taken == stop_after:
                run.save()
    run.network.load_state_dict(run.best)
    run.network.metadata = network.metadata | {"adapted": f"SOC, {config.preset}, epoch {run.best_epoch}"}
    return Adaptation(run.network.eval(), run.history, run.best_epoch, run.stopped)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.default_rng([seed, epoch]).integers(2**31)))


def _identify(frame: ImageLike) -> str | dict[str, str]:
    """Name and checksum of a file, a hash of other pictures."""
    if isinstance(frame, (str, Path)):
        return file_contents([Path(frame)], Path(frame).parent)
    return fingerprint(read_image(frame))


class _Run:
    """The state of a run: M, M', Adam, what was best, and the sums of the epoch so far.

    There is no random state: the order of the frames is a pure function of seed and epoch, and networks in evaluation
    mode draw no random numbers.
    """

    def __init__(
        self,
        network: MODNet,
        config: AdaptationConfig,
        folder: Path,
        identity: dict[str, Any],
        device: torch.device,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.folder = config, folder
        self.network, self.frozen = (
            copy.deepcopy(network).to(device).eval().requires_grad_(False) for _ in range(2)
        )
        learning = trainable(self.network, config.freeze_affine)
        for parameter in learning:
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.Adam(learning, config.learning_rate, config.betas)
        self.history: list[dict[str, Any]] = []
        self.epoch = self.step = self.best_epoch = 0
        self.rows: list[dict[str, float]] = []
        self.stopped, self.source, self.identity = "", identity[SOURCE], identity
        self.best = _copied(self.network)
        if (folder / STATE).is_file():
            self._resume()

    @property
    def steps_done(self) -> int:
        return sum(record.get("steps", 0) for record in self.history) + self.step

    def take(self, groups: list[Tensor]) -> dict[str, float]:
        """One step, and what may end the run at once."""
        record = adaptation_step(self.network, self.frozen, self.optimizer, groups, self.config)
        self.rows.append(record)
        self.step += 1
        recent = self.rows[-WINDOW:]
        person, before = (float(np.mean([r[key] for r in recent])) for key in ("person", "frozen_person"))
        if not all(map(math.isfinite, record.values())):
            self._stop(f"a loss or gradient that is not finite, {record}")
        elif len(recent) == WINDOW and has_collapsed(person, before):
            self._stop(f"collapse: the mean alpha went from {before:.3f} to {person:.3f}")
        elif self.config.checkpoint_every and self.step % self.config.checkpoint_every == 0:
            self.save()
        return record

    def means(self) -> dict[str, float]:
        names = [name for name in self.rows[0] if not name.endswith("person")]
        return {n: float(np.mean([r[n] for r in self.rows])) for n in names} | {"steps": len(self.rows)}

    def close_epoch(self, record: dict[str, Any]) -> None:
        self.history.append(record)
        self.epoch, self.step, self.rows = record["epoch"], 0, []
        if has_collapsed(record["person"], record["person_before"]):
            self._stop(f"collapse: mean alpha {record['person_before']:.3f}, now {record['person']:.3f}")
            return
        self.best, self.best_epoch = _copied(self.network), self.epoch
        enough = self.config.until * self.source
        if enough and record["disagreement"] <= enough:
            self.stopped = f"the disagreement is that of the source domain, {self.source:.4f}"
        if self.config.refresh:
            self.frozen.load_state_dict(self.network.state_dict())
        self.save()

    def _stop(self, reason: str) -> None:
        where = f"epoch {self.epoch}, step {self.step}"
        self.stopped = f"{reason} ({where}); the weights of epoch {self.best_epoch} are kept"
        self.save()

    def save(self) -> None:
        state = {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "frozen": self.frozen.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "counters": (self.epoch, self.step, self.best_epoch, self.stopped, self.history, self.rows),
        }
        write_atomically(self.folder / STATE, lambda temporary: torch.save(state, temporary))
        write_text(self.folder / HISTORY, "".join(json.dumps(record) + "\n" for record in self.history))

    def _resume(self) -> None:
        state = load_state(self.folder / STATE, self.identity)
        self.network.load_state_dict(state["network"])
        self.frozen.load_state_dict(state["frozen"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        self.epoch, self.step, self.best_epoch, self.stopped, self.history, self.rows = state["counters"]


def _copied(network: MODNet) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
