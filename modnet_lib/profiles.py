"""The size of a run: profiles and recipes, YAML files that are read into frozen, validated dataclasses."""

import json
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
T = TypeVar("T")


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """The training data. The defaults are the paper's recipe; all our additions are off."""

    #: Use `foregrounds`, `backgrounds` and `masks`; otherwise, drawn people and scenes only.
    real: bool = False
    #: Data sets with mattes or masks, as `modnet data list` names them (``"ccp"``, ``"p3m10k"``,
    #: ``"amd:train-portraits"``), or folders: with subfolders ``image`` and ``alpha``, or of cut-outs (RGBA).
    #: Masks become pseudo-mattes.
    foregrounds: Names = ("ccp",)
    #: Data sets of backgrounds, or folders of pictures.
    backgrounds: Names = ("backgrounds",)
    #: Use the mattes that ``python data/teacher`` made: near the outline of a mask that agrees, and alone where there
    #: is neither matte nor mask.
    teacher: bool = False
    #: For pre-training: data sets with masks or mattes, or ``"drawn"``.
    masks: Names = ("drawn",)
    #: Share of the samples that each entry of `foregrounds` (or `masks`) and ``"drawn"`` gets, for instance
    #: ``{people: 0.5, ccp: 0.3, drawn: 0.2}``. Without shares every foreground is sampled equally often.
    shares: Annotated[dict[str, Share], Field(min_length=1)] | None = None
    #: At most this many foregrounds of each data set.
    photographs: Positive = 100_000
    #: Number of drawn people and of drawn backgrounds: from ``data/samples`` if they suffice, else from the data set
    #: ``drawn``.
    portraits: int = 24
    scenes: int = 24
    #: Samples per foreground and epoch: crops of the photograph itself, and composites.
    natural: Count = 5
    composites: Count = 10
    #: ``"random"`` crops (the paper), or ``"person"``: whole bodies, half bodies and heads; see `frame_person`.
    framing: Literal["random", "person"] = "random"
    #: Share of samples that are mirrored.
    flip: Portion = 0.0
    #: Strength of the colour jitter.
    colour: float = 0.0
    #: Share of composites without a person.
    empty: Portion = 0.0
    #: Share of composites whose background is blurred.
    defocus: Portion = 0.0
    #: Share of composites in which the person's colours are moved towards the scene's.
    harmonise: Portion = 0.0
    #: Share of samples through a simulated camera: out of focus, noisy, compressed.
    camera: Portion = 0.0
    #: Share of composites with small people, posters, statues, streaks or bright shapes in the background; see
    #: `add_distractors`.
    distractors: Portion = 0.0
    #: Share of composites whose person has a blurred part or patterned clothes, or holds something; see
    #: `change_person`.
    changes: Portion = 0.0
    #: Share of samples that are grey or strongly graded.
    graded: Portion = 0.0
    #: Share of samples that are turned by 90, 180 or 270 degrees.
    turned: Portion = 0.0
    #: GiB of decoded pictures that are kept, over all workers; the rest is read again each time.
    memory: float = 0.0

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
    """Training at one size: pixels a side, images per step (over all processes), and optimiser steps."""

    image_size: Annotated[int, Field(ge=64, multiple_of=32)]
    batch_size: Positive
    steps: Positive


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """Loss, optimiser and schedule; the defaults are the paper's."""

    #: One after another; the paper has one.
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = (Stage(512, 16, 112_500),)
    #: ``"paper"`` (Eq. 5), or ``"segmentation"``, which pre-trains the backbone alone.
    objective: Literal["paper", "segmentation"] = "paper"
    #: lambda_s, lambda_d and lambda_alpha; ``None`` takes the objective's own.
    loss_weights: tuple[float, float, float] | None = None
    #: ``"sgd"`` with momentum 0.9, or ``"adamw"``.
    optimizer: Literal["sgd", "adamw"] = "sgd"
    #: Initial value.
    learning_rate: float = 0.01
    #: ``"step"``: times 0.1 after every quarter (the paper's 10 of 40 epochs); ``"cosine"``: to zero, after a linear
    #: warm-up over the first 2 %.
    schedule: Literal["step", "cosine"] = "step"
    #: On weights, not on norms and biases.
    weight_decay: float = 0.0
    #: Factor on the learning rate of the backbone.
    backbone_rate: float = 1.0
    #: Largest norm of the gradient; 0 does not clip.
    gradient_clip: float = 0.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    #: Memory order of the network's tensors; faster with bf16 for the paper variant.
    channels_last: bool = False
    #: Let `torch.compile` generate the kernels, once for each size.
    compile: bool = False
    #: Pieces in which a step's batch is computed, one after another; saves memory.
    accumulate: Positive = 1
    #: Keep the statistics of batch norms; for fine-tuning with small batches.
    freeze_norm: bool = False
    #: Decay of the averaged weights; 0 keeps none.
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Steps; 0 is never (a checkpoint is written at the end in any case).
    checkpoint_every: int = 500
    validate_every: int = 0
    #: Processes that read data; by default none on a CPU, and one per core, at most 8, with a GPU.
    workers: Count | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Image size, batch size and steps of each stage."""
        return [(stage.image_size, stage.batch_size, stage.steps) for stage in self.stages]


@dataclass(frozen=True, config=STRICT)
class Profile:
    """One size of the whole series, or the recipe of one training run."""

    #: ``"smoke"``, ``"laptop"``, ``"full"``, ``"paper"``, or a recipe's own.
    name: str
    #: The one seed of the run.
    seed: int = 0
    #: PyTorch's name of the device; ``None`` is a GPU if there is one.
    device: str | None = None
    #: Arguments of `modnet_lib.network.MODNet`.
    variant: Literal["paper", "released"] = "paper"
    backbone: str = "mobilenet_v2"
    context: Literal["easpp", "aspp", "none"] = "easpp"
    trimap_input: bool = False
    #: Another method instead of MODNet, one of `modnet_lib.baselines.BASELINES`.
    baseline: str | None = None
    #: ``None`` (untrained), ``"imagenet"`` (a copy below ``MODNET_DATA``, else torchvision's, which may download), or a
    #: file; a relative one is looked for below ``MODNET_DATA``.
    backbone_weights: str | None = None
    #: A checkpoint to start from, for example another run's, or ``"shipped"``.
    initial: str | None = None
    #: Held-out pictures to measure.
    validation: int = 8
    #: Forward passes of a timing.
    timing_repeats: int = 3
    #: Runs of each row of the ablation, from `seed` on.
    seeds: int = 3
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    #: How the backbone is pre-trained, and how each row of a grid is trained.
    pretraining: TrainingConfig | None = None
    ablation: TrainingConfig | None = None
    #: For long training: what changes in this profile for each of several runs (nested, as in the file). Each starts
    #: from the averaged weights of the one before with a fresh optimiser, the first from `pretraining` if there is any.
    rounds: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for number, changes in enumerate(self.rounds):
            replace(self, rounds=()).changed(changes, f"rounds[{number}]")

    @classmethod
    def load(cls, name: str | Path) -> "Profile":
        """Read a profile by name, or any recipe by its file name.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, a key is unknown or a value has the wrong type; the message names key and file.
        """
        path, values = read_yaml(name, paths.PROFILES)
        return validated(cls, values, str(path))

    def changed(self, changes: dict[str, Any], where: str = "changes") -> "Profile":
        """This profile with other values, nested as in a file: ``{"training": {"learning_rate": 1e-3}}``.

        Raises ValueError as `load`; the message begins with `where`.
        """
        return validated(type(self), _merge(self._values(), changes), where)

    def to_yaml(self) -> str:
        """The whole profile as YAML, defaults included."""
        return yaml.safe_dump(self._values(), sort_keys=False)

    def _values(self) -> dict[str, Any]:
        values = json.loads(json.dumps(asdict(self)))  # YAML would mark tuples as Python's
        empty = [key for key in ("pretraining", "ablation", "rounds") if not values[key]]
        return {key: value for key, value in values.items() if key not in empty}


def _merge(values: Any, changes: Any) -> Any:
    """Merge nested mappings; any other value is replaced."""
    if not (isinstance(values, dict) and isinstance(changes, dict)):
        return changes
    return values | {key: _merge(values.get(key), value) for key, value in changes.items()}


def read_yaml(name: str | Path, folder: Path) -> tuple[Path, Any]:
    """The path and the contents of a YAML file, given as a path or by its name in a folder."""
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        kind = folder.name.removesuffix("s")
        raise FileNotFoundError(f"no {kind} {str(name)!r}: give a YAML file or one of {known}")
    try:
        return path, yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error


def validated(kind: type[T], values: Any, where: str) -> T:
    """Build a dataclass from nested mappings; a ValueError begins with `where` and names each wrong key."""
    try:  # as JSON, since YAML also has dates, and lists for tuples
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise ValueError(f"{where}: {'; '.join(map(_explain, error.errors()))}") from error


def _explain(problem: Any) -> str:
    """One of pydantic's errors: the key, what was expected and what was given."""
    place, kind, value = problem["loc"], problem["type"], problem["input"]
    key = ".".join(map(str, place)) + ": " * bool(place)
    if kind == "unexpected_keyword_argument":
        parts = {"data": DataConfig, "stages": Stage}
        parts |= dict.fromkeys(("training", "pretraining", "ablation"), TrainingConfig)
        owner = next((parts[part] for part in place[-2::-1] if part in parts), Profile)
        return f"{key}unknown key; known are {', '.join(sorted(each.name for each in fields(owner)))}"
    got = "" if kind in ("missing", "value_error") else f", got {value!r}"
    is_text = kind == "float_type" and isinstance(value, str)
    return f"{key}{problem['msg']}{got}{' (YAML reads 1e-3 as text: write 1.0e-3)' * is_text}"
