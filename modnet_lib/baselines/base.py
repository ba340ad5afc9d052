"""The interface of the methods that MODNet is compared with."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from modnet_lib.network.backbones import Backbone
from modnet_lib.network.modnet import check_image

Batch = Any  # modnet_lib.data.assemble.MattingBatch, which this part must not import
INPUTS = {
    "trimap": "a trimap (N, 1, H, W) of {0, 0.5, 1}",
    "background": "a picture of the background alone (N, 3, H, W), from the same camera position",
    "clip": "the neighbouring frames (N, T, 4, H, W), each RGB and its trimap, of the middle frame `image`",
}


class BaselineOutput(NamedTuple):
    """What a method predicts."""

    #: (N, 1, H, W) in [0, 1]. In training, the estimate of the current stage.
    alpha: Tensor
    #: What the losses need, by name.
    parts: dict[str, Tensor]


class Stage(NamedTuple):
    """A stage of training: its share of all steps, and the submodules that learn (all of them if empty)."""

    name: str
    share: float
    trains: tuple[str, ...] = ()


class Baseline(nn.Module):
    """A matting method on a given backbone; a subclass implements `predict` and `losses`."""

    #: Name in tables, and the source.
    title: str
    paper: str
    #: Inputs beside the image: keys of `INPUTS`.
    required: tuple[str, ...] = ()
    #: How the method is trained.
    stages: tuple[Stage, ...] = (Stage("all", 1.0),)

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone, self.stage = backbone, self.stages[-1]
        self.config: dict[str, object] = {"backbone": backbone.name}
        self.metadata: dict[str, str] = {}

    @property
    def modules_of(self) -> dict[str, tuple[str, ...]]:
        """Submodules by the stage that trains them alone, the rest under the last stage; empty for one stage."""
        known = {name for stage in self.stages for name in stage.trains}
        rest = tuple(name for name, _ in self.named_children() if name not in known)
        parts = {stage.name: stage.trains or rest for stage in self.stages if known}
        return {name: names for name, names in parts.items() if names}

    def begin(self, progress: float) -> float:
        """Enter the stage after the share `progress` of all steps, after `train`; the share of it that is over."""
        start, within = 0.0, 0.0
        for stage in self.stages:
            self.stage, within = stage, max(0.0, (progress - start) / stage.share)
            start += stage.share
            if progress < start - 1e-9:
                break
        for name, module in self.named_children():
            learns = not self.stage.trains or name in self.stage.trains
            module.requires_grad_(learns)
            if not learns:
                module.eval()  # frozen norms keep their statistics too
        return within

    def forward(self, image: Tensor, **given: Tensor) -> BaselineOutput:
        """Predict the matte of each image.

        Parameters
        ----------
        image
            (N, 3, H, W), RGB in [0, 1]; H and W multiples of 32.
        given
            Inputs by name, see `INPUTS`; a ValueError if one of `required` is missing.
        """
        check_image(image)
        for name in self.required:
            if name not in given:
                raise ValueError(f"{self.title} needs {INPUTS[name]}: pass {name}=")
        return self.predict(image, **given)

    #: `forward` with all that it needs.
    predict: Callable[..., BaselineOutput]

    def training_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """What is given beside the image in training."""
        return {"trimap": batch.trimap} if "trimap" in self.required else {}

    def losses(self, output: BaselineOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of the current stage, scalars; their sum is minimised."""
        raise NotImplementedError
