"""How large a run is: profiles and recipes as small YAML files, read into frozen dataclasses."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from modnet_lib import paths


@dataclass(frozen=True)
class DataConfig:
    """What is trained on. The defaults are the paper's recipe; every addition of ours is off.

    Attributes
    ----------
    real
        Use `foregrounds`, `backgrounds` and `masks`; without it, only drawn people and scenes.
    foregrounds
        Data sets with mattes or masks, as `modnet data list` names them (``"ccp"``, ``"p3m10k"``,
        ``"amd:train-portraits"``), or folders: with subfolders ``image`` and ``alpha``, or of cut-outs (RGBA).
        Masks become pseudo-mattes.
    backgrounds
        Data sets of backgrounds, or folders of pictures.
    teacher
        Use the mattes that ``modnet data prepare --teacher`` made: near the outline of a mask where the two agree, and
        as they are where there is neither matte nor mask.
    masks
        For pre-training: data sets with masks or mattes, or ``"drawn"``.
    shares
        Share of the samples that each entry of `foregrounds` (or `masks`) and ``"drawn"`` gets, for instance
        ``{people: 0.5, ccp: 0.3, drawn: 0.2}``. Without shares every foreground is sampled equally often.
    photographs
        At most this many foregrounds of each data set.
    portraits, scenes
        Number of drawn people and of drawn backgrounds: of ``data/samples`` if it has so many, else of the data set
        ``drawn``.
    natural, composites
        Samples per foreground and epoch: crops of the picture as it is, and composites (the paper: 5 and 10).
    framing
        ``"random"`` crops (the paper), or ``"person"``: whole bodies, half bodies and heads; see `frame_person`.
    flip
        Share of samples that are mirrored.
    colour
        Strength of the colour jitter.
    empty
        Share of composites without a person.
    defocus
        Share of composites whose background is blurred.
    harmonise
        Share of composites in which the person's colours are moved towards the scene's.
    camera
        Share of samples that went through a worse camera: out of focus, noisy, saved small.
    memory
        GiB of decoded pictures that are kept, over all workers; the others are read again each time.
    on_device
        Keep them on the training device, if that is a GPU, and cut them there; then `workers` stay idle.
    """

    real: bool = False
    foregrounds: tuple[str, ...] = ("ccp",)
    backgrounds: tuple[str, ...] = ("backgrounds",)
    teacher: bool = False
    masks: tuple[str, ...] = ("drawn",)
    shares: dict[str, float] | None = None
    photographs: int = 100_000
    portraits: int = 24
    scenes: int = 24
    natural: int = 5
    composites: int = 10
    framing: Literal["random", "person"] = "random"
    flip: float = 0.0
    colour: float = 0.0
    empty: float = 0.0
    defocus: float = 0.0
    harmonise: float = 0.0
    camera: float = 0.0
    memory: float = 0.0
    on_device: bool = False

    def __post_init__(self) -> None:
        named = ("foregrounds", "backgrounds", "masks")
        changed = [key for key in named if getattr(self, key) != getattr(type(self), key)]
        if changed and not self.real:
            raise ValueError(f"{' and '.join(changed)} would not be used: set data.real to true")
        if min(self.natural, self.composites) < 0 or self.natural + self.composites < 1:
            raise ValueError(
                f"natural and composites must not be negative, nor both 0; got {self.natural}, {self.composites}"
            )
        if self.photographs < 1:
            raise ValueError(f"photographs must be at least 1, got {self.photographs}")
        shares = (self.shares or {"": 1.0}).values()
        if not (all(0 <= share < math.inf for share in shares) and sum(shares) > 0):
            raise ValueError(f"shares must not be negative, nor all 0; got {self.shares}")


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one size.

    Attributes
    ----------
    image_size
        Side of the training images, a multiple of 32.
    batch_size
        Images a step, over all processes.
    steps
        Optimiser steps.
    """

    image_size: int
    batch_size: int
    steps: int

    def __post_init__(self) -> None:
        if self.image_size % 32 or self.image_size < 64:
            raise ValueError(f"image_size must be a multiple of 32 and at least 64, got {self.image_size}")
        if min(self.batch_size, self.steps) < 1:
            raise ValueError(f"batch_size and steps must be positive, got {self.batch_size}, {self.steps}")


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained; the defaults are the paper's.

    Attributes
    ----------
    stages
        One after another; the paper has one, at 512 with batches of 16.
    objective
        ``"paper"`` (Eq. 5), ``"released"``, or ``"segmentation"``, which pre-trains the backbone alone.
    loss_weights
        lambda_s, lambda_d and lambda_alpha; ``None`` takes the objective's own.
    optimizer
        ``"sgd"`` with momentum 0.9, or ``"adamw"``.
    learning_rate
        At the start.
    schedule
        ``"step"``: times 0.1 after every quarter (the paper's 10 of 40 epochs); ``"cosine"``: to zero, after a
        linear warm-up over the first 2 %.
    weight_decay
        On weights, not on norms and biases.
    backbone_rate
        Factor on the learning rate of the backbone.
    gradient_clip
        Largest norm of the gradient; 0 leaves it alone.
    mixed_precision
        ``"no"``, ``"bf16"`` or ``"fp16"``.
    channels_last
        Memory order of the network's tensors; faster with bf16 for the paper variant.
    compile
        Let `torch.compile` generate the kernels, once for each size.
    accumulate
        Pieces that a step's batch is computed in, one after another; saves memory.
    freeze_norm
        Batch norms keep the statistics they have; for fine-tuning with small batches.
    ema
        Decay of the averaged weights; 0 keeps none.
    checkpoint_every, validate_every
        Steps; 0 is never (a checkpoint is written at the end in any case).
    tensorboard
        Also write the metrics for TensorBoard, which has to be installed.
    workers
        Processes that read data.
    """

    stages: tuple[Stage, ...] = (Stage(512, 16, 112_500),)
    objective: Literal["paper", "released", "segmentation"] = "paper"
    loss_weights: tuple[float, ...] | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    schedule: Literal["step", "cosine"] = "step"
    weight_decay: float = 0.0
    backbone_rate: float = 1.0
    gradient_clip: float = 0.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    channels_last: bool = False
    compile: bool = False
    accumulate: int = 1
    freeze_norm: bool = False
    ema: float = 0.0
    checkpoint_every: int = 500
    validate_every: int = 0
    tensorboard: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        if self.loss_weights is not None and len(self.loss_weights) != 3:
            raise ValueError(f"loss_weights are lambda_s, lambda_d, lambda_alpha; got {self.loss_weights}")
        if self.accumulate < 1 or not 0 <= self.ema < 1:
            raise ValueError(
                f"accumulate must be at least 1 and ema in [0, 1), got {self.accumulate}, {self.ema}"
            )

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True)
class Profile:
    """One size of the whole series, or the recipe of one training run.

    Attributes
    ----------
    name
        ``"smoke"``, ``"laptop"``, ``"full"``, ``"paper"``, or a recipe's own.
    seed
        The one seed of the run.
    variant, backbone, context, trimap_input
        What `modnet_lib.network.MODNet` takes.
    baseline
        Another method instead of MODNet, one of `modnet_lib.baselines.BASELINES`.
    backbone_weights
        ``None`` (untrained), ``"imagenet"`` (a copy below ``MODNET_DATA``, else torchvision's, which may
        download), or a file; a relative one is looked for below ``MODNET_DATA``.
    initial
        A checkpoint to start from, for example another run's.
    validation
        Held-out pictures that are looked at.
    timing_repeats
        Forward passes of a timing.
    seeds
        Runs of each row of the ablation, from `seed` on.
    data, training
        See there.
    pretraining, ablation
        How the backbone is pre-trained, and how each row of the ablation is trained.
    """

    name: str
    seed: int = 0
    variant: Literal["paper", "released"] = "paper"
    backbone: str = "mobilenet_v2"
    context: Literal["easpp", "aspp", "none"] = "easpp"
    trimap_input: bool = False
    baseline: str | None = None
    backbone_weights: str | None = None
    initial: str | None = None
    validation: int = 8
    timing_repeats: int = 3
    seeds: int = 3
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    pretraining: TrainingConfig | None = None
    ablation: TrainingConfig | None = None

    @classmethod
    def load(cls, name: str | Path) -> "Profile":
        """Read a profile by name, or any recipe by its file name.

        Raises
        ------
        FileNotFoundError
            If there is no such profile.
        ValueError
            If a key is unknown or a value has the wrong type; the message names the key and the file.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = paths.PROFILES / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in paths.PROFILES.glob("*.yaml")))
            raise FileNotFoundError(f"no profile {str(name)!r}: give a YAML file or one of {known}")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not valid YAML: {error}") from error
        return _build(cls, values, str(path))

    def to_yaml(self) -> str:
        """The whole profile as YAML, defaults included."""
        values = json.loads(json.dumps(dataclasses.asdict(self)))  # YAML would mark tuples as Python's
        for part in ("pretraining", "ablation"):
            if values[part] is None:
                del values[part]
        return yaml.safe_dump(values, sort_keys=False)


def _build(cls: type, values: Any, where: str) -> Any:
    """Make a dataclass of a mapping; unknown keys and wrong types are errors."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected names and values, got {values!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}")
    checked = {key: _check(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**checked)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if types.NoneType in arguments:
        given = arguments[0]
        if value is None or dataclasses.is_dataclass(given) or typing.get_origin(given):
            return None if value is None else _check(given, value, where)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where}: expected a list, got {value!r}")
        return tuple(_check(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict) or not value:
            raise ValueError(f"{where}: expected names and values, got {value!r}")
        return {str(key): _check(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    allowed = arguments if origin in (types.UnionType, typing.Union) else (hint,)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to Python, not to a reader of the file
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join("none" if a is types.NoneType else a.__name__ for a in allowed)
        hint_text = (
            " (YAML reads 1e-3 as text: write 1.0e-3)" if float in allowed and isinstance(value, str) else ""
        )
        raise ValueError(f"{where}: expected {names}, got {value!r}{hint_text}")
    return value
