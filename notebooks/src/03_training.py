# %% [markdown]
# # 03 Training: how is MODNet trained, watched and resumed?
#
# The authors published a network and its weights, but no training script.
# This notebook trains one: from the loss of a network that knows nothing, over a first real run, to a run that is
# cut in the middle and goes on as if nothing had happened.

# %% [markdown]
# ## You will be able to
#
# - state the paper's schedule, and say what loss a useless prediction gets;
# - follow a step of the training loop, give a reason for each line, and prove that a resumed run equals an uninterrupted one;
# - pre-train a backbone on masks, and say what that is worth;
# - recognise five common failures by their numbers, and cure them;
# - estimate what a long run costs, on one machine and on several.

# %% [markdown]
# ## Needs
#
# Notebooks [01](01_dataset_compositing.ipynb) (the samples) and [02](02_building_modnet.ipynb) (the network and Eq. 2–5).
# No download and no GPU.
# Reading takes about 26 minutes. The smoke profile takes about 40 seconds on two CPU cores; its network is far from trained.
# What a long run looks like is shown in section 8, from the record of the checkpoint that comes with the project.

# %% tags=["parameters"]
PROFILE = "smoke"

# %%
import json
import shutil
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.sets import training_data
from modnet_lib.devices import choose_device
from modnet_lib.inference import Matter
from modnet_lib.network import MattingOutput, MODNet, Segmenter, load_checkpoint
from modnet_lib.notebook.curves import training_curves
from modnet_lib.notebook.figures import image_row, show_prediction, show_source, use_style
from modnet_lib.notebook.inspector import MatteInspector
from modnet_lib.notebook.results import ResultsTable, record
from modnet_lib.objectives import paper_objective
from modnet_lib.profiles import Profile
from modnet_lib.training import loop, state
from modnet_lib.training.run import build_network, pretraining, run
from modnet_lib.training.validation import validation_data, validator

use_style()
profile = Profile.load(PROFILE)
config, size = profile.training, profile.training.stages[0].image_size
RUN = paths.RUNS / "notebooks" / "03" / PROFILE
shutil.rmtree(RUN, ignore_errors=True)  # every execution starts afresh
device = choose_device(profile.device)  # smoke stays on the CPU, so it is the same everywhere

# %% [markdown]
# ## 1. The schedule
#
# > For MODNet, we train it by SGD for 40 epochs. With a batch size of 16, the initial learning rate is set to 0.01
# > and is multiplied by 0.1 after every 10 epochs.
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict.** An epoch has 3,000 × 15 = 45,000 samples (notebook 01). How many steps are 40 epochs with batches of 16?
# $45{,}000 / 16 = 2812.5$ steps an epoch, $112{,}500$ in all. After 30 epochs the rate has fallen to
# $0.01 \cdot 0.1^3 = 10^{-5}$.

# %% tags=["nbval-check-output"]
paper = Profile.load("paper").training
print("steps:", paper.steps, "batch:", paper.stages[0].batch_size, "size:", paper.stages[0].image_size)
rates = [state.learning_rate(paper, epoch * paper.steps // 40) for epoch in (0, 9, 10, 20, 30, 39)]
print("rate in epochs 1, 10, 11, 21, 31, 40:", [f"{rate:.0e}" for rate in rates])

# %% [markdown]
# That schedule suits a GPU and days. The checkpoint of this project was trained on two CPU cores, and a different
# recipe gets further there: AdamW, whose step does not depend on the size of the gradient; a short warm-up while its
# averages fill; then half a cosine down to zero. Small pictures first, larger ones later.

# %%
shipped = Profile.load(paths.PRETRAINED.with_suffix(".yaml")).training
for stage in shipped.stages:
    print(f"{stage.steps:5d} steps of {stage.batch_size} pictures at {stage.image_size}")
figure, axes = plt.subplots(1, 2, figsize=(9, 2.4), sharey=True)
for axis, recipe, title in zip(axes, (paper, shipped), ("the paper: SGD", "ours: AdamW"), strict=True):
    steps = np.linspace(0, recipe.steps - 1, 400).astype(int)
    axis.semilogy(steps, [state.learning_rate(recipe, int(step)) for step in steps])
    axis.set(title=f"{title}, {recipe.steps:,} steps", xlabel="step", ylim=(1e-6, 2e-2))
axes[0].set_ylabel("learning rate")
_ = figure.supxlabel(
    "Compare the shapes: rates of different optimisers cannot be compared by size.", y=-0.12, fontsize=9
)

# %% [markdown]
# ## 2. The loss of knowing nothing
#
# > $$\mathcal{L} = \lambda_s \mathcal{L}_s + \lambda_d \mathcal{L}_d + \lambda_\alpha \mathcal{L}_\alpha \qquad (5)$$
# > […] We set $\lambda_s = \lambda_\alpha = 1$ and $\lambda_d = 10$.
# >
# > — section "Semantic-Detail Fusion", Eq. 5
#
# A loss of 1.3: is that good? Nobody can say without a baseline. So ask first what a network gets that answers 0.5
# everywhere. **Predict** with a matte that is almost everywhere 0 or 1:
#
# - every pixel is off by 0.5, so $\mathcal{L}_s = \frac{1}{2} \cdot 0.5^2 = 0.125$, less along blurred borders;
# - $\mathcal{L}_d \approx 0.5 \times$ the share of pixels inside $m_d$;
# - $\mathcal{L}_\alpha \approx 0.5 + 0.5 \times$ the mean of $|F - B|$.
#
# One batch of the profile's training data, and that prediction:

# %%
dataset = training_data(profile.data, profile.seed)
batch = assemble(collate([dataset[number, size] for number in range(config.stages[0].batch_size)]), device)
image_row(
    [*batch.image[:4], *batch.true_alpha[:4]],
    [""] * 8,
    height=1.15,
    caption="Four samples, and what the network should answer.",
)


# %% tags=["nbval-check-output"]
def constant(value):
    """The losses of answering `value` everywhere."""
    matte, thumbnail = (torch.full((len(batch.image), 1, s, s), value, device=device) for s in (size, size // 16))
    return paper_objective(MattingOutput(thumbnail, matte, matte), batch)


half = constant(0.5)
band = (batch.trimap == 0.5).float().mean()
contrast = (batch.foreground - batch.background).abs().mean()
print("L_s at most 0.125:", bool(half.semantic <= 0.125))
print("L_d within 30 % of the estimate:", bool((half.detail / (0.5 * band) - 1).abs() < 0.3))
print("L_alpha within 10 % of the estimate:", bool((half.matte / (0.5 + 0.5 * contrast) - 1).abs() < 0.1))

# %%
nobody = constant(0.0)
for name in half._fields:
    print(f"{name:9s} all 0.5: {getattr(half, name):.3f}   all 0: {getattr(nobody, name):.3f}")

# %% [markdown]
# "All 0.5" is the score of a network that has learnt nothing, "all 0" of one that says nobody is there.
# A run that stays near these values has not begun. Note which term is large: $\mathcal{L}_d$ is small as a number,
# because it is averaged over the whole picture, and counts ten times.

# %% [markdown]
# ## 3. One step
#
# The heart of the loop is short. Read it, then the reasons.

# %%
display(show_source(loop.Trainer.terms), show_source(loop.Trainer.update))

# %% [markdown]
# - **autocast**: the forward pass may use 16-bit numbers (`mixed_precision`), which is faster where the hardware has them.
# - **`part.float()`**: losses stay in 32 bits. The next cell shows why.
# - **finite or stop**: one NaN, in the loss or in a gradient, ruins all weights, so the run ends with the loss terms in the
#   message.
# - **`scaler`**: with fp16, losses are scaled up so that small gradients survive; in the other types it does nothing.
# - **clip**: one strange batch must not throw the network far away; long gradients are shortened, not turned.
# - **`set_to_none`**: gradients do not accumulate from step to step unless you forget this line.

# %% tags=["nbval-check-output"]
total = torch.tensor(1.0, dtype=torch.bfloat16)
print("1 + 0.001 in bf16:", (total + 0.001).item())
print("256 + 1 in bf16:", (torch.tensor(256.0, dtype=torch.bfloat16) + 1).item())
weight = torch.nn.Parameter(torch.zeros(2))
weight.grad = torch.tensor([30.0, 40.0])
norm = torch.nn.utils.clip_grad_norm_([weight], 5.0)
print("norm before:", norm.item(), "gradient after:", [round(value) for value in weight.grad.tolist()])

# %% [markdown]
# bf16 keeps 8 significant bits: a small loss added to a large sum vanishes. A mean over a picture is such a sum.
#
# One more thing is not in `update` but comes right after it: **averaged weights** (EMA). The last weights of a run jump
# about; their moving average, $\bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta$, is quieter.
# **Predict.** With $d = 0.995$, how many steps does it remember? About $1 / (1 - d) = 200$.
# Early in a run a memory of 200 steps would hold on to the random start, so the decay grows from small values:

# %% tags=["nbval-check-output"]
decays = [min(shipped.ema, (1 + step) / (10 + step)) for step in (1, 10, 100, 1000, 2000)]
print("decay after 1, 10, 100, 1000, 2000 steps:", [round(decay, 3) for decay in decays])

# %% [markdown]
# ## 4. The first sanity check: overfit one batch
#
# Before a long run, ask for the easiest thing: can the network learn *one* batch by heart?
# If not, a target is wrong, a gradient does not arrive, or the rate is off, and no amount of data will help.
# The step, spelt out in five lines:

# %%
network = build_network(profile).to(device).train()
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
overfit = []
for _ in range(25):
    losses = paper_objective(network(batch.image), batch)
    optimizer.zero_grad()
    losses.total.backward()
    optimizer.step()
    overfit.append([value.item() for value in losses])

# %% tags=["nbval-check-output"]
figure, axis = plt.subplots(figsize=(7, 2.5))
for curve, name in zip(np.transpose(overfit), losses._fields, strict=True):
    axis.semilogy(range(1, len(curve) + 1), curve, label=name)
axis.axhline(float(half.matte), color="grey", linestyle=":", label="matte of answering 0.5")
axis.set(
    xlabel="step on the same batch", ylabel="loss", title="All terms must fall, and the matte below the dotted line"
)
_ = axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
first, last = overfit[0], overfit[-1]
print("every term has fallen:", all(after < before for before, after in zip(first, last, strict=True)))
print("the matte's loss is less than half of answering 0.5:", last[2] < 0.5 * float(half.matte))

# %% [markdown]
# ## 5. A run, watched
#
# Now the loop itself, with fresh samples in every step. `validate` is called now and then; here it measures held-out
# pictures and puts their mattes into a live picture: photograph, prediction, truth.
# In a notebook with a kernel it changes while the bar moves; the stored strip shows the same frames.

# %%
samples = validation_data(profile.data, profile.validation)
frames = {}


def watched(folder, live):
    """Measure held-out pictures and show them."""
    measure = validator(samples, folder, short_side=size)

    def validate(network, step):
        measured = measure(network, step)
        frames[f"step {step}"] = np.asarray(Image.open(folder / "validation.png"))
        live.update(image_row(list(frames.values()), list(frames)))
        return measured

    return validate


# %%
config = replace(config, validate_every=max(1, config.steps // 4))
network, live = build_network(profile), display(display_id=True)
watch = watched(RUN / "whole", live)
history = loop.Trainer(network, dataset, config, RUN / "whole", validate=watch, device=device).run()

# %% tags=["nbval-check-output"]
print("steps:", len(history), "validations:", sum("validation_mad" in line for line in history))
print("files:", sorted(file.name for file in (RUN / "whole").iterdir()))
training_curves(history)

# %% [markdown]
# Read them in this order.
#
# 1. **The scale.** Compare with section 2. In the smoke profile the losses stay near the values of knowing nothing:
#    a few dozen steps of four small pictures are no training, only a test that everything is connected.
# 2. **The noise.** Each step sees other people. A curve of single steps goes up and down even if the network improves,
#    so look at averages and at validation.
# 3. **Validation.** `mad` is the mean absolute error over whole held-out pictures, `iou` the overlap of the mattes cut
#    at 0.5. Training loss falling while validation rises means learning by heart.

# %% [markdown]
# ## 6. Cut it and go on
#
# Everything that decides the next step goes into one file: weights, optimiser state, averaged weights, the step number,
# the random state. The file is written beside the old one and renamed, so a power cut leaves the old one whole.
# The samples need no state at all: number $n$ is a function of the seed and $n$.
#
# **Predict.** Train eight steps. Train the same recipe again, stop after five, throw the network away, build a new one
# and call `train` with the same folder. How different are the two final networks?

# %%
short = replace(config, stages=(replace(config.stages[0], steps=8),), validate_every=0)
uninterrupted, cut_off, resumed = (build_network(profile) for _ in range(3))
checked, measure = replace(short, validate_every=4), validator(samples, RUN / "whole", short_side=size)
_ = loop.Trainer(uninterrupted, dataset, checked, RUN / "short", validate=measure, device=device).run()
before = loop.Trainer(cut_off, dataset, short, RUN / "cut", device=device).run(stop_after=5)
after = loop.Trainer(resumed, dataset, short, RUN / "cut", device=device).run()

# %% tags=["nbval-check-output"]
pairs = list(zip(uninterrupted.state_dict().values(), resumed.state_dict().values(), strict=True))
identical = all(torch.equal(mine, theirs) for mine, theirs in pairs)
print("steps after the first call:", len(before), "after the second:", len(after), "tensors:", len(pairs))
print("bit for bit the same weights:", identical)

# %% [markdown]
# Not similar: the same. On a CPU a run repeats bit by bit; on a GPU some kernels add in changing order, and the last
# bits may differ.
# A folder remembers its schedule: `train` refuses to go on there with another one, because half a cosine from one run
# and half a step schedule from another is neither.

# %% [markdown]
# ## 7. Pre-training: masks are cheap
#
# > We use MobileNetV2 pre-trained on the Supervisely Person Segmentation (SPS) (supervise.ly 2018) dataset as the
# > backbone of all trimap-free models.
# >
# > — section "Results on AMD and PPM-100"
#
# A matte takes minutes of handwork, a mask seconds. So S learns first, from many masks, what a person looks like;
# the mattes then have to teach the border only. The paper does not say with which head or loss. Ours is the smallest
# that trains every scale: one $1 \times 1$ convolution on each map, their answers added up, cross-entropy.

# %%
show_source(Segmenter.forward)

# %% [markdown]
# `training.run` trains it like anything else: `pretraining(profile)` is a recipe, and `masks: [sps]` in the profile names the
# data (or `ccp`, `p3m10k`, any set of `modnet data list` with masks or mattes); the smoke profile draws its people.
# On the command line: `modnet train laptop --recipe pretraining --folder runs/masks`.
#
# A dozen steps teach no backbone anything. The backbone inside the shipped checkpoint has had thousands.
# **Predict.** The run of section 5 began with random weights. Repeat it, the same samples in the same order, with
# the backbone of the shipped checkpoint and everything else random. Which part of the answer gets better at once?

# %%
masks = run(pretraining(profile), RUN / "masks", show_progress=False)
torch.manual_seed(profile.seed)
informed = MODNet(backbone=load_checkpoint(paths.PRETRAINED).semantic_branch.backbone)
quiet = replace(config, validate_every=0)
with_backbone = loop.Trainer(informed, dataset, quiet, RUN / "informed", device=device).run(show_progress=False)

# %% tags=["nbval-check-output"]
figure, axes = plt.subplots(1, 3, figsize=(9.5, 2.3), layout="constrained")
for axis, name in zip(axes, ("semantic", "detail", "matte"), strict=True):
    for curve, label in ((history, "random"), (with_backbone, "pre-trained")):
        axis.plot([line[name] for line in curve], label=f"{label} backbone")
    axis.set(title=name, xlabel="step", ylim=(0, None))
axes[0].legend(fontsize=8)
late = {
    name: [np.mean([line[name] for line in h[-8:]]) for h in (history, with_backbone)] for name in ("semantic", "matte")
}
print("pre-trained backbone, semantic loss of the last steps is lower:", late["semantic"][1] < late["semantic"][0])

# %% [markdown]
# The semantic loss falls at once: where the person is was in the backbone already. Detail has to be learnt from the
# beginning either way, because D is new. Notebook [04](04_ablation_study.ipynb) measures what pre-training is worth
# after the same number of steps; this comparison only shows where it acts.

# %% [markdown]
# ## 8. A long run
#
# The checkpoint that comes with the project was trained with the recipe beside it. Its curve is stored as numbers in
# `data/results/03_training.json`, so it can be read without repeating it.

# %%
file = paths.RESULTS / "03_training.json"
recorded = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
print(recorded["provenance"] if recorded else "No long run is recorded yet.")
if recorded:
    curve = {name: np.array(values) for name, values in recorded["curve"].items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained")
    for name in ("semantic", "detail", "matte", "loss"):
        left.semilogy(curve["step"], curve[name], label=name, linewidth=1)
    for end in recorded["stage_ends"]:
        _ = [axis.axvline(end, color="grey", linestyle=":") for axis in (left, right)]
    left.set(title="training losses; dotted: the data change", xlabel="step")
    right.plot(curve["validation_step"], curve["validation_mad"], "o-", label="MAD (lower is better)")
    right.plot(curve["validation_step"], 1 - curve["validation_iou"], "s--", label="1 − IoU")
    right.set(title="held-out pictures", xlabel="step", ylim=(0, None))
    _ = left.legend(ncols=2, fontsize=8), right.legend(fontsize=8)

# %% [markdown]
# What to look for. The semantic term falls first: where the person is gets learnt before how the hair ends.
#
# On the right is a trap that we walked into. Up to step 1,100 the training losses fall while the held-out error grows.
# Training ran at 192 pixels, where e-ASPP sees a map of 6 × 6 and its far taps meet nothing but padding. Validation runs
# at 384, where the same taps meet pixels, with weights that were never trained on any. A hundred steps at 256 cured it.
# Train near the size you test at; and let validation, not the training loss, tell whether all is well.

# %% [markdown]
# ## 9. Trained or not, on a person never seen
#
# A held-out drawn portrait; its seed lies far from all training seeds. Above, the network of section 5, which has seen a
# handful of steps; below, the shipped checkpoint.

# %% tags=["nbval-check-output"]
_, sample = samples[0]
trained = Matter.from_pretrained(device=device)
errors = {
    "section 5": np.abs(
        Matter(network, short_side=size, device=device).alpha(sample.image) - sample.alpha / 255
    ).mean(),
    "shipped": np.abs(trained.alpha(sample.image) - sample.alpha / 255).mean(),
}
print("nearer to the truth:", min(errors, key=errors.get))

# %%
display(show_prediction(Matter(network, short_side=size, device=device).predict(sample.image)))
show_prediction(trained.predict(sample.image))

# %% [markdown]
# With a kernel running, look closer, or load a picture of your own:

# %%
known = dict(samples[:2])
MatteInspector(trained, {k: p.image for k, p in known.items()}, truths={k: p.alpha for k, p in known.items()})

# %% [markdown]
# ## 10. When it does not converge
#
# "The loss does not go down", "the matte is black", "there are holes in the body": these are the reports of people
# who write their own training loop. Five mistakes explain most of them. Section 7 showed what a backbone without
# pre-training looks like. Let us make the other four on purpose: a dozen steps or two, from the shipped network, on four
# pictures that stay the same, as if you began to fine-tune it on your own.

# %%
four = assemble(collate([dataset[number, 128] for number in range(4)]))


def short_run(change=lambda batch: batch, one_by_one=False, freeze=False, rate=1e-3, steps=12):
    """Fine-tune the shipped network on four pictures; its losses, and its mattes of them afterwards."""
    tuned = load_checkpoint(paths.PRETRAINED)
    optimizer, losses = torch.optim.AdamW(tuned.parameters(), rate), []
    for step in range(steps):
        tuned.train()
        if freeze:
            state.freeze_norms(tuned)
        part = change(four)
        if one_by_one:
            part = type(part)(*(field[step % 4 : step % 4 + 1] for field in part))
        loss = paper_objective(tuned(part.image), part)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append([term.item() for term in loss])
    with torch.no_grad():
        return np.array(losses), tuned.eval()(four.image).alpha


# %%
runs = {
    "nothing wrong": short_run(),
    "batch of 1": short_run(one_by_one=True, rate=1e-4),
    "batch of 1,\nnorms frozen": short_run(one_by_one=True, freeze=True, rate=1e-4),
    "alpha / 255 twice": short_run(lambda b: b._replace(true_alpha=b.true_alpha / 255), steps=24),
    "trimap of 0–255": short_run(lambda b: b._replace(trimap=b.trimap * 255)),
    "rate of 1": short_run(rate=1.0),
}
figure, axes = plt.subplots(2, len(runs), figsize=(11, 4), layout="constrained", height_ratios=(1, 1.2))
for (curve, mattes), name, (above, below) in zip(runs.values(), runs, axes.T, strict=True):
    above.plot(curve[:, 2], label=r"$\mathcal{L}_\alpha$")
    above.plot(curve[:, 1], "--", label=r"$\mathcal{L}_d$")
    above.set_title(name, fontsize=9)
    above.set(ylim=(0, 0.7), xlabel="step")
    below.imshow(mattes[2, 0], cmap="gray", vmin=0, vmax=1)
    below.axis("off")
_ = axes[0, 0].legend(fontsize=8), axes[0, 0].set_ylabel("loss")
_ = figure.supxlabel(
    "Below: a training picture's matte afterwards, in eval(). Which mistakes would its curve give away?", fontsize=9
)

# %% tags=["nbval-check-output"]
error = {name: float((mattes - four.true_alpha).abs().mean()) for name, (_, mattes) in runs.items()}
twice = runs["alpha / 255 twice"]
print(
    "batch of 1, error in eval() over that with frozen norms > 3:",
    error["batch of 1"] > 3 * error["batch of 1,\nnorms frozen"],
)
print("alpha / 255 twice, the loss falls to less than a quarter:", bool(twice[0][-1, 3] < twice[0][0, 3] / 4))
print("alpha / 255 twice, the people fade:", bool(twice[1].mean() < 0.6 * four.true_alpha.mean()))
print("trimap of 0–255, largest L_d:", runs["trimap of 0–255"][0][:, 1].max())
print("rate of 1, spread of the mattes below 0.01:", bool(runs["rate of 1"][1].std() < 0.01))

# %% [markdown]
# | mistake | symptom | why | cure |
# |---|---|---|---|
# | **batch statistics at batch 1** | the loss jumps and does not fall; in `eval()` people have holes or are missing | batch norm takes mean and variance of a single photograph, and another photograph has others | batches of 8 and more, or `freeze_norm: true` when you fine-tune; `accumulate` does not help, its pieces are small |
# | **alpha divided by 255 twice** | the loss falls wonderfully, mattes turn black | the largest target is 0.004, so "nobody" is nearly right | print `true_alpha.max()`: it must be 1 |
# | **trimap at the wrong scale** | $\mathcal{L}_d$ is *exactly* 0 | 0, 128 and 255 contain no 0.5, so $m_d$ is empty | print `trimap.unique()`: it must be 0, 0.5, 1 |
# | **learning rate too high** | one jump, then a matte that is the same everywhere, or NaN | one step throws the weights where every sigmoid is flat | divide by ten until the first hundred steps fall; warm up; clip |
# | **backbone not pre-trained** | semantic loss falls slowly, people in pieces | S has to learn what a person is from a few thousand mattes | section 7; at least ImageNet weights |
#
# The loop stops by itself at a loss that is not finite, and when the matte has been flat for a hundred steps; it names
# the step and the samples. The other three it cannot see: a black matte with a small loss is what it was asked for.

# %% [markdown]
# ## 11. Faster, and on more machines
#
# A step moves the same numbers through the same layers however it is written; what differs is how many bytes and how
# much arithmetic that takes. The table was recorded by `benchmarks/training.py` in one run: the network and the losses
# as released in a plain float32 loop, then one change after another.

# %%
bench = json.loads((paths.RESULTS / "training_benchmark.json").read_text(encoding="utf-8"))
print(f"{bench['device']}, {bench['size']} x {bench['size']}, batches of {bench['batch']}, {bench['date']}")
for line in bench["lines"]:
    print(f"{line['label']:36s} {line['rate']:6.2f} images/s  {line['peak']:5.2f} GiB")
rates = {line["label"]: line["rate"] for line in bench["lines"]}
images = paper.steps * paper.stages[0].batch_size
days = images / rates["modnet_lib's loop"] * (512 / bench["size"]) ** 2 / 86_400
print(f"The paper trains on {images:,} images; at this rate that takes {days:.0f} days on {bench['device']}.")

# %% [markdown]
# **More processes.** `torchrun --nproc_per_node 4 -m modnet_lib.cli train full --folder runs/full` shares every batch
# among four processes. Each computes the gradient of its part; the parts are averaged, so that the step is that of the
# whole batch: a test holds two processes to the curve of one, to a ten-thousandth.
# **Predict.** What has to travel between the machines in each step? One number for each weight:
# 3.37 million × 4 bytes = 13.5 MB, whatever the size of the pictures. Inside a computer that is a fraction of a
# millisecond; through a 10 Gbit/s cable 22 ms, more than a GPU needs to compute a small step.
# `CONTRIBUTING.md` has the table for 1, 4 and 8 GPUs.
#
# In the table below, the validation numbers of a smoke run belong to a network that has hardly begun. They are recorded
# to notice when the loop breaks, not to be admired.

# %% [markdown]
# ## Results

# %%
record("steps_of_the_paper", paper.steps, paper=112_500)
record("loss_of_answering_half", float(half.total))
record("loss_end_over_start", np.mean([line["loss"] for line in history[-4:]]) / history[0]["loss"])
record("overfit_matte_loss_end_over_start", last[2] / first[2])
record("resume_identical", int(identical))
record("validation_mad_of_this_run", history[-1]["validation_mad"])
record("validation_iou_of_this_run", history[-1]["validation_iou"])
record("shipped_mad_on_one_drawn_portrait", float(errors["shipped"]))
ResultsTable("03_training", PROFILE)

# %% [markdown]
# ## Summary
#
# - The paper: SGD, 0.01, a tenth every 10 of 40 epochs, batches of 16: 112,500 steps.
# - Know the loss of knowing nothing before you read a curve, and overfit one batch before you start a long run.
# - A step is forward, losses in 32 bits, check, backward, clip, update; averaged weights follow behind.
# - State in one atomic file, samples as a function of their number: a cut run resumes to identical weights.
# - A loss of exactly zero, or one that is good at once, is a bug until proven otherwise.

# %% [markdown]
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("03.1", ...)
# ```
#
# **1.** The paper says "multiplied by 0.1 after every 10 epochs". What is the learning rate in epoch 40, and would a
# fifth stage of 10 epochs change the network much?
#
# <details><summary>Answer</summary>
#
# $10^{-5}$. A fifth stage would use $10^{-6}$, ten thousand times less than at the start: the weights would hardly move.
#
# ```python
# check_answer("03.1", 0.01 * 0.1**3)
# ```
#
# </details>
#
# **2.** Which constant prediction $c$ minimises $\mathcal{L}_s$ for a batch whose mattes are on average 0.3? And the
# first part of $\mathcal{L}_\alpha$, if they are almost binary? (`"03.2"`: both, as a tuple.)
#
# <details><summary>Answer</summary>
#
# A squared error is smallest at the mean, $c = 0.3$. An absolute error is smallest at the median, and with 30 % ones
# the median is 0. So a network that knows nothing drifts towards "nobody" in $\alpha_p$, and towards 0.3 in $s_p$.
#
# ```python
# check_answer("03.2", (0.3, 0))
# ```
#
# </details>
#
# **3.** Resuming was exact although `validate` ran in one run and not in the other. What could have broken that?
#
# <details><summary>Answer</summary>
#
# A validation that changes state: leaving batch norm in training mode (its running averages would move), or drawing
# from the global random generator that training also uses. Ours measures a network in evaluation mode, and `train()` is
# set again before every step.
#
# </details>

# %% [markdown]
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022.
# - I. Loshchilov, F. Hutter. *Decoupled Weight Decay Regularization.* ICLR 2019. AdamW.
# - S. Ioffe, C. Szegedy. *Batch Normalization.* ICML 2015.
# - P. Micikevicius et al. *Mixed Precision Training.* ICLR 2018.
#
# **Next:** [04 Ablation study](04_ablation_study.ipynb) trains the network with one part missing at a time.
