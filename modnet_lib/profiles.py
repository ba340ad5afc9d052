"""How large a run is: profiles and recipes as small YAML files, read into frozen, validated dataclasses."""

import json
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from modnet_lib import paths

STRICT = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Portion = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
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
        Number of drawn people and of drawn backgrounds: from ``data/samples`` if they suffice, else from the data set
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
    distractors
        Share of composites with small people, posters, statues, streaks or bright shapes in the background; see
        `add_distractors`.
    changes
        Share of composites whose person has a blurred part or patterned clothes, or holds something; see
        `change_person`.
    graded
        Share of samples that are grey or strongly graded.
    turned
        Share of samples that are turned by 90, 180 or 270 degrees.
    balance
        How far the sources of a data set are evened out, in [0, 1]. A source is what starts with the same letters in
        the ids, of n pictures; it is sampled in proportion to n ** (1 - balance).
    memory
        GiB of decoded pictures that are kept, over all workers; the others are read again each time.
    on_device
        Keep them on the training device, if that is a GPU, and cut them there; then `workers` stay idle.
    """

    real: bool = False
    foregrounds: Names = ("ccp",)
    backgrounds: Names = ("backgrounds",)
    teacher: bool = False
    masks: Names = ("drawn",)
    shares: Annotated[dict[str, Share], Field(min_length=1)] | None = None
    photographs: Positive = 100_000
    portraits: int = 24
    scenes: int = 24
    natural: Count = 5
    composites: Count = 10
    framing: Literal["random", "person"] = "random"
    flip: Portion = 0.0
    colour: float = 0.0
    empty: Portion = 0.0
    defocus: Portion = 0.0
    harmonise: Portion = 0.0
    camera: Portion = 0.0
    distractors: Portion = 0.0
    changes: Portion = 0.0
    graded: Portion = 0.0
    turned: Portion = 0.0
    balance: Portion = 0.0
    memory: float = 0.0
    on_device: bool = False

    def __post_init__(self) -> None:
        named = ("foregrounds", "backgrounds", "masks")
        changed = [key for key in named if getattr(self, key) != getattr(type(self), key)]
        if changed and not self.real:
            raise ValueError(f"{' and '.join(changed)} would not be used: set data.real to true")
        if self.natural + self.composites == 0:
            raise ValueError("natural and composites must not both be 0")
        if self.shares and not sum(self.shares.values()):
            raise ValueError("shares must not all be 0")


@dataclass(frozen=True, config=STRICT)
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

    image_size: Annotated[int, Field(ge=64, multiple_of=32)]
    batch_size: Positive
    steps: Positive


@dataclass(frozen=True, config=STRICT)
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

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(512, 16, 112_500),)
    objective: Literal["paper", "released", "segmentation"] = "paper"
    loss_weights: tuple[float, float, float] | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    schedule: Literal["step", "cosine"] = "step"
    weight_decay: float = 0.0
    backbone_rate: float = 1.0
    gradient_clip: float = 0.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    channels_last: bool = False
    compile: bool = False
    accumulate: Positive = 1
    freeze_norm: bool = False
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    checkpoint_every: int = 500
    validate_every: int = 0
    tensorboard: bool = False
    workers: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)


@dataclass(frozen=True, config=STRICT)
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
        A checkpoint to start from, for example another run's, or ``"shipped"``.
    validation
        Held-out pictures that are looked at.
    timing_repeats
        Forward passes of a timing.
    seeds
        Runs of each row of the ablation, from `seed` on.
    data, training
        See there.
    pretraining, ablation
        How the backbone is pre-trained, and how each row of a grid is trained.
    rounds
        For long training: what changes in this profile for each of several runs (nested, as in the file). Each starts
        from the averaged weights of the one before with a fresh optimiser, the first from `pretraining` if there is
        any.
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
    rounds: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for number, changes in enumerate(self.rounds):
            replace(self, rounds=()).changed(changes, f"rounds[{number}]")

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
        return _validated(values, str(path))

    def changed(self, changes: dict[str, Any], where: str = "changes") -> "Profile":
        """This profile with other values, nested as in a file: ``{"training": {"learning_rate": 1e-3}}``.

        Raises
        ------
        ValueError
            If a key is unknown or a value has the wrong type; the message begins with `where`.
        """
        return _validated(_merge(self._values(), changes), where)

    def to_yaml(self) -> str:
        """The whole profile as YAML, defaults included."""
        return yaml.safe_dump(self._values(), sort_keys=False)

    def _values(self) -> dict[str, Any]:
        values = json.loads(json.dumps(asdict(self)))  # YAML would mark tuples as Python's
        empty = [key for key in ("pretraining", "ablation", "rounds") if not values[key]]
        return {key: value for key, value in values.items() if key not in empty}


def _merge(values: Any, changes: Any) -> Any:
    """Nested mappings with changes; everything that is no mapping is replaced."""
    if not (isinstance(values, dict) and isinstance(changes, dict)):
        return changes
    return values | {key: _merge(values.get(key), value) for key, value in changes.items()}


def _validated(values: Any, where: str) -> Profile:
    """A profile of nested mappings; a ValueError that begins with `where` if they are wrong."""
    try:  # by way of JSON, which has lists only, and no dates
        return TypeAdapter(Profile).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        # a list whose items are wrong is also reported as too short
        found = [_explain(e) for e in error.errors() if e["type"] != "too_short" or not e["input"]]
        raise ValueError(f"{where}: {'; '.join(found)}") from error


def _explain(problem: Any) -> str:
    """One of pydantic's errors in words: the key, what was expected and what was found."""
    place, kind, value = problem["loc"], problem["type"], problem["input"]
    key = ".".join(map(str, place)) or "the profile"
    if kind == "unexpected_keyword_argument":
        outer = [part for part in place[:-1] if isinstance(part, str)]
        parts = {"data": DataConfig, "stages": Stage}
        owner = parts.get(outer[-1], TrainingConfig) if outer else Profile
        return f"{key}: unknown key; known are {', '.join(sorted(each.name for each in fields(owner)))}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input", "input").replace("Field", "field")
    got = "" if kind in ("missing", "value_error") else f", got {value!r}"
    is_text = kind == "float_type" and isinstance(value, str)
    return f"{key}: {message}{got}{' (YAML reads 1e-3 as text: write 1.0e-3)' * is_text}"
