# %% [markdown]
# # 03 Training: how does a network learn to matte, and how can you tell?
#
# The authors released their network, two checkpoints and two functions that train for one step, but no training
# data and no training script. In this notebook you write the training loop in twenty lines, watch a matte emerge from
# noise, and then see what a long run needs in addition.

# %% [markdown]
# ## You will be able to
#
# - work out the loss of a useless prediction, and judge a training curve by it;
# - write MODNet's training loop and give a reason for each line;
# - prove that a resumed run equals an uninterrupted one, bit for bit;
# - explain what the schedule, pre-training and averaged weights are for;
# - recognise four common mistakes by their curves and mattes.
#
# ## Contents
#
# 1. [What does a useless answer score?](#1.-What-does-a-useless-answer-score?)
# 2. [A training loop in twenty lines](#2.-A-training-loop-in-twenty-lines)
# 3. [From noise to a person](#3.-From-noise-to-a-person)
# 4. [What a long run needs in addition](#4.-What-a-long-run-needs-in-addition)
# 5. [Watched, interrupted, resumed](#5.-Watched,-interrupted,-resumed)
# 6. [The schedule](#6.-The-schedule)
# 7. [Pre-training on masks](#7.-Pre-training-on-masks)
# 8. [A long run](#8.-A-long-run)
# 9. [When it does not learn](#9.-When-it-does-not-learn)
# 10. [Faster, and on several GPUs](#10.-Faster,-and-on-several-GPUs)
#
# ## Needs
#
# Notebooks [01](01_dataset_compositing.ipynb) (the samples) and [02](02_building_modnet.ipynb) (the network and the
# losses). No download and no GPU.
# Reading takes about 28 minutes. The smoke profile takes about 35 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import shutil

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display

from modnet_lib import Matter, MODNet, devices, load_checkpoint, network, paths, profiles
from modnet_lib.data import assemble, sets
from modnet_lib.notebook import figures, inspector, portraits, results
from modnet_lib.objectives import supervised
from modnet_lib.training import loop, state, validation

# %%
figures.use_style()
profile = profiles.Profile.load(PROFILE)
device = devices.choose_device(profile.device)  # smoke stays on the CPU, so it is the same everywhere
RUN = paths.RUNS / "notebooks" / "03" / PROFILE
shutil.rmtree(RUN, ignore_errors=True)  # every execution starts afresh
SIZE, BATCH, STEPS = 128, 4, 64

# %% [markdown]
# ## 1. What does a useless answer score?
#
# > $$\mathcal{L} = \lambda_s \mathcal{L}_s + \lambda_d \mathcal{L}_d + \lambda_\alpha \mathcal{L}_\alpha \qquad (5)$$
# > […] We set $\lambda_s = \lambda_\alpha = 1$ and $\lambda_d = 10$.
# >
# > — section "Semantic-Detail Fusion", Eq. 5
#
# Is a loss of 1.4 good? To tell, you need a baseline, such as the loss of a network that answers "one half" everywhere.
# Here is one batch of training samples, made as in notebook [01](01_dataset_compositing.ipynb):

# %%
drawn = {} if profile.data.real else {"portraits": 24, "scenes": 24}
dataset = sets.training_data(profile.changed({"data": drawn}).data, profile.seed)


def draw(step):
    """Batch number `step`: the composite, its matte and trimap, and both layers of Eq. 1."""
    numbers = range(step * BATCH, (step + 1) * BATCH)
    return assemble.assemble(assemble.collate([dataset[number, SIZE] for number in numbers]), device)


# %%
batch = draw(0)
titles = ["image $I$"] * BATCH + [r"true matte $\alpha_g$"] * BATCH
figures.image_row([*batch.image, *batch.true_alpha], titles)

# %% [markdown]
# **Predict.** Assume mattes that are almost everywhere 0 or 1. What are $\mathcal{L}_s$, $\mathcal{L}_d$ and
# $\mathcal{L}_\alpha$ of the answer "one half", roughly? Use the share of pixels in the
# [transition region](GLOSSARY.md#transition-region-m_d) $m_d$ and the mean contrast $|F - B|$.
#
# <details><summary>Answer</summary>
#
# Every pixel is off by 0.5, so
#
# - $\mathcal{L}_s$ is at most $\frac{1}{2} \cdot 0.5^2 = 0.125$. It is less where the blurred target lies between 0 and 1.
# - $\mathcal{L}_d \approx 0.5 \times$ the share of $m_d$.
# - $\mathcal{L}_\alpha \approx 0.5 + 0.5\,|F - B|$.
#
# </details>


# %%
def constant(value):
    """The losses of the answer `value` everywhere."""
    matte, thumbnail = (torch.full((BATCH, 1, s, s), value, device=device) for s in (SIZE, SIZE // 16))
    return supervised.paper_objective(network.MattingOutput(thumbnail, matte, matte), batch)


# %% tags=["nbval-check-output"]
region = (batch.trimap == 0.5).float().mean()
contrast = (batch.foreground - batch.background).abs().mean()
by_hand = [0.125, 0.5 * region, 0.5 + 0.5 * contrast]
by_hand.append(by_hand[0] + 10 * by_hand[1] + by_hand[2])
half, nobody = constant(0.5), constant(0.0)
rows = {"one half, by hand": by_hand, "one half, measured": half, "nobody (0 everywhere)": nobody}
cells = [[answer, *(f"{float(value):.2f}" for value in values)] for answer, values in rows.items()]
results.markdown_table(["answer", "$L_s$", "$L_d$", r"$L_\alpha$", "Eq. 5"], cells)

# %% [markdown]
# A loss near 1.5<!-- loss_of_one_half --> means that nothing has been learned yet. A loss of 1.4 is no better: on this
# batch, "nobody" gets about that much. Compare the terms, too. $\mathcal{L}_d$ is averaged over the whole picture but is
# zero outside a narrow band, so even a useless answer makes it small. The factor $\lambda_d = 10$ makes up for that.

# %% [markdown]
# ## 2. A training loop in twenty lines
#
# The loop has five parts: sample, forward, Eq. 5, backward, step. Everything else in this notebook is added to them.

# %%
LAMBDA = torch.tensor([1.0, 10.0, 1.0], device=device)


def train(model, optimizer, draw, steps, watch=None, prepare=MODNet.train):
    """Train a network in place; return L_s, L_d, L_alpha and their weighted sum for every step."""
    history = []
    for step in range(steps):
        if watch:
            watch(step)
        batch = draw(step)  # sample
        prepare(model)  # training mode: batch norms use the statistics of the batch
        semantic, detail, alpha = model(batch.image)  # forward
        terms = [
            supervised.semantic_loss(semantic, batch.true_alpha),
            supervised.detail_loss(detail, batch.true_alpha, (batch.trimap == 0.5).float()),
            supervised.matte_loss(alpha, batch),
        ]
        total = (LAMBDA * torch.stack(terms)).sum()  # Eq. 5
        optimizer.zero_grad()
        total.backward()  # backward
        optimizer.step()  # step
        history.append([term.item() for term in (*terms, total)])
    return history


# %% [markdown]
# We need a network to train. The paper starts from a backbone that has already seen people (section 7). To see something
# within seconds, we go further: the backbone and e-ASPP come from the checkpoint that ships with this project. Only the
# head of S and the branches D and F start from random weights.


# %%
def beginner():
    """A MODNet with a trained S; its head, D and F are random."""
    torch.manual_seed(profile.seed)
    trained = load_checkpoint(paths.PRETRAINED).semantic_branch
    model = MODNet(backbone=trained.backbone)
    model.semantic_branch.context = trained.context
    model.semantic_branch.requires_grad_(False).head.requires_grad_(True)
    return model.to(device)


# %% [markdown]
# Is the loop right? The library has one as well, `Trainer`. We take one step with each, from the same weights, on the same
# batch, and with the paper's optimiser (SGD at 0.01; the momentum of 0.9 is ours). Both must end at the same weights.

# %% tags=["nbval-check-output"]
ours, theirs = beginner(), beginner()
[first] = train(ours, torch.optim.SGD(ours.parameters(), lr=0.01, momentum=0.9), draw, steps=1)
config = profiles.TrainingConfig((profiles.Stage(SIZE, BATCH, STEPS),))  # everything else as in the paper
[log] = loop.Trainer(theirs, dataset, config, RUN / "one", device=device).run(stop_after=1, show_progress=False)
pairs = list(zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
apart = max((one.cpu() - other.cpu()).abs().max().item() for one, other in pairs)
print(f"loss: {first[-1]:.4f} and {log['loss']:.4f}")
print(f"largest difference of {len(pairs)} tensors: {apart:.6f} of 0.000010 allowed")
assert max(abs(first[-1] - log["loss"]), apart) < 1e-5

# %% [markdown]
# ## 3. From noise to a person
#
# Now we take 64 steps with AdamW. It divides each gradient by its recent size, so that even small gradients move the weights
# in a short run. Each step takes four samples, made from 24 drawn people. In between, we look at the matte of a photograph that
# is not in the training data. S stays as it is, including the statistics of its
# [batch norms](https://arxiv.org/abs/1502.03167); only its head learns.
#
# **Predict.** What appears first: the place of the person, or the outline? And which of the three losses stays longest at
# the level of "one half"?

# %%
name, photograph = next(iter(portraits.portraits(profile.data).items()))
model, seen = beginner(), {}
live = display(display_id=True)


def watch(step):
    """At some steps, add the photograph's matte to the live picture."""
    if step in (0, 2, 4, 8, 16, 32, STEPS):
        seen[f"step {step}"] = Matter(model, short_side=192, device=device).alpha(photograph)
        live.update(figures.image_row([photograph, *seen.values()], [name, *seen]))


def s_rests(model):
    """Training mode, except for the batch norms of S."""
    state.freeze_norms(model.train().semantic_branch)


optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
history = train(model, optimizer, draw, STEPS, watch, prepare=s_rests)
watch(STEPS)

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
symbols = [r"$\mathcal{L}_s$", r"$\mathcal{L}_d$", r"$\mathcal{L}_\alpha$", "Eq. 5"]
for axis, values, title, useless in zip(axes, np.transpose(history), symbols, half, strict=True):
    axis.plot(values, linewidth=0.7, alpha=0.5)
    axis.plot(range(7, STEPS), np.convolve(values, np.ones(8) / 8, "valid"), color=figures.BLUE, linewidth=2)
    axis.axhline(float(useless), color=figures.RED, linestyle="--")
    axis.set(title=title, xlabel="step", ylabel="loss", ylim=(0, None))
_ = figure.supxlabel('Thin: single steps. Thick: mean of eight. Dashed: the answer "one half".', fontsize=9)

# %% [markdown]
# The first loss, 1.76<!-- loop_first_loss -->, is worse than that of "one half". The place comes first, within about four steps. S already knows it, and F only has to learn to read it. The outline
# follows more slowly, because D starts from random weights: $\mathcal{L}_d$ stays near the dashed line for about ten
# steps. The total ends at roughly a third of the loss of "one half". Each step sees other samples, so single steps
# scatter. Judge a run by averages.
#
# This is not a usable model yet. It has seen 24 drawn people for a few seconds, its outlines are blurred, and not everything
# improves: the jacket is white at step 16 and partly grey at step 64. Section 8 shows where the same loss leads in a long run.

# %% [markdown]
# ## 4. What a long run needs in addition
#
# The library's loop takes the same step. It adds what a run of several hours needs:
#
# | addition | in `Trainer` | without it |
# |---|---|---|
# | forward pass in 16 bits, losses in 32 | `terms` | all in 32 bits needs more memory; all in 16 rounds the losses |
# | check that loss and gradient are finite | `update` | one NaN spreads to all weights |
# | loss scaling for fp16 | `update` | small gradients become 0 in fp16 |
# | shorten long gradients (clipping) | `update` | one unusual batch moves the weights far away |
# | learning rate by step | `begin` | see section 6 |
# | averaged weights | `run` | the result depends on where the last step happened to end |
# | atomic state file | `run` | a power cut costs the run; section 5 |
#
# Here are two of these in numbers. A mean over a picture is a large sum of small numbers, and bf16 keeps only eight
# significant bits:

# %% tags=["nbval-check-output"]
total = torch.tensor(1.0, dtype=torch.bfloat16)
print("1 + 0.001 in bf16:", (total + 0.001).item())
print("256 + 1 in bf16:", (256 * total + 1).item())
weight = torch.nn.Parameter(torch.zeros(2))
weight.grad = torch.tensor([30.0, 40.0])
norm = torch.nn.utils.clip_grad_norm_([weight], max_norm=5.0)
print(f"gradient [30, 40] of length {norm:.0f}, shortened to 5:", weight.grad.round().tolist())

# %% [markdown]
# Shortening keeps the direction. The averaged weights $\bar\theta$ follow the trained weights $\theta$ slowly,
# $\bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta$, and remember about $1/(1-d)$ steps. Early in a run they would still
# remember the random start, so $d$ grows: step $n$ uses $\min(d, \frac{1+n}{10+n})$. Exercise 2 asks for this update.

# %% [markdown]
# ## 5. Watched, interrupted, resumed
#
# `Trainer` writes a line of numbers for every step and measures held-out pictures at intervals, here every four steps. It
# takes 16 steps from the same start as in section 2. The figure shows what it wrote.

# %%
stage = {"image_size": SIZE, "batch_size": BATCH, "steps": 16}
recipe = profile.changed({"training": {"stages": [stage], "validate_every": 4, "learning_rate": 3e-3}}).training
samples = validation.validation_data(profile.data, profile.validation)
measure = validation.validator(samples, RUN, short_side=SIZE)
whole = beginner()
uninterrupted = loop.Trainer(whole, dataset, recipe, RUN / "whole", validate=measure, device=device).run()

# %%
figure, (losses, checks) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for key in ("semantic", "detail", "matte", "loss"):
    losses.semilogy([line["step"] for line in uninterrupted], [line[key] for line in uninterrupted], label=key)
measured = [line for line in uninterrupted if "validation_mad" in line]
for key in ("mad", "mse", "iou"):
    checks.plot([line["step"] for line in measured], [line[f"validation_{key}"] for line in measured], "o-", label=key)
for axis, title in ((losses, "training losses"), (checks, "validation")):
    axis.set(xlabel="step", title=title)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# Read the figure in this order: the scale of the losses (compare section 1), their noise (each step sees other samples), the
# validation. `mad` and `mse` are the mean absolute and the mean squared error over whole held-out pictures. `iou` is the
# overlap of predicted and true person, with both mattes cut at one half. If the training losses fall while the validation
# gets worse, the network is probably memorising its training samples (overfitting).
#
# Everything that decides the next step goes into one file: weights, optimiser state, averaged weights, step number and
# random state. It is written next to the old file and then renamed, so a power cut always leaves one complete file.
# Samples need no state, because sample $n$ depends on nothing but the seed and $n$.
#
# **Predict.** We run the same recipe again, stop after ten steps, discard the network, build a new one, and call the loop
# with the same folder. By how much do the two final networks differ?

# %%
interrupted, second = beginner(), beginner()
_ = loop.Trainer(interrupted, dataset, recipe, RUN / "cut", device=device).run(stop_after=10)
resumed = loop.Trainer(second, dataset, recipe, RUN / "cut", device=device).run()

# %% tags=["nbval-check-output"]
pairs = list(zip(whole.state_dict().values(), second.state_dict().values(), strict=True))
difference = max((one.double() - other.double()).abs().max().item() for one, other in pairs)
print(f"{len(uninterrupted)} and {len(resumed)} steps")
print(f"largest difference of {len(pairs)} tensors: {difference:g}, 0 allowed on a CPU")
assert difference == 0 or device.type != "cpu"

# %% [markdown]
# The weights are not just similar but equal, although only the first run measured held-out pictures on the way. On a GPU,
# some kernels add in a varying order, so the last bits may differ there. The folder also stores the recipe.
# `Trainer` refuses to resume with another one, because no single recipe would describe the result.

# %% [markdown]
# ## 6. The schedule
#
# > For MODNet, we train it by SGD for 40 epochs. With a batch size of 16, the initial learning rate is set to 0.01
# > and is multiplied by 0.1 after every 10 epochs.
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict.** An epoch has $3{,}000 \times 15 = 45{,}000$ samples (notebook 01). How many steps does the run have, and what
# is the rate in the last one?
#
# <details><summary>Answer</summary>
#
# $45{,}000 / 16 = 2812.5$ steps per epoch, so $112{,}500$ steps. After 30 epochs the rate is
# $0.01 \cdot 0.1^3 = 10^{-5}$.
#
# </details>


# %% tags=["nbval-check-output"]
def paper_rate(step, steps=112_500, base=0.01):
    """A tenth after every quarter of the run: ten of forty epochs."""
    return base * 0.1 ** (4 * step // steps)


paper, ours = (profiles.Profile.load(each).training for each in ("paper", "overnight"))
steps = np.arange(0, paper.steps, 25)
written = [paper_rate(step) for step in steps]
np.testing.assert_allclose(written, [state.learning_rate(paper, step) for step in steps], rtol=1e-12)
print(f"{paper.steps:,} steps; rates {', '.join(f'{rate:.0e}' for rate in sorted({*np.round(written, 12)})[::-1])}")

# %% [markdown]
# Section 10 estimates how long this takes on two CPU cores. Our profile `overnight` is made for one night on such a machine
# and uses another recipe: AdamW, a short linear warm-up while the optimiser's running averages settle, then half a
# cosine down to zero.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.5), sharey=True, layout="constrained")
for axis, config, title in zip(axes, (paper, ours), ("the paper: SGD", "overnight: AdamW"), strict=True):
    steps = np.unique(np.r_[np.arange(300), np.linspace(0, config.steps - 1, 400)].astype(int))
    axis.semilogy(steps, [state.learning_rate(config, int(step)) for step in steps])
    axis.set(
        title=f"{title}, {config.steps:,} steps of {config.stages[0].batch_size}", xlabel="step", ylim=(1e-6, 2e-2)
    )
axes[0].set_ylabel("learning rate")
_ = figure.supxlabel("Compare the shapes. Rates of different optimisers cannot be compared.", fontsize=9)

# %% [markdown]
# ## 7. Pre-training on masks
#
# > We use MobileNetV2 pre-trained on the Supervisely Person Segmentation (SPS) (supervise.ly 2018) dataset as the
# > backbone of all trimap-free models.
# >
# > — section "Results on AMD and PPM-100"
#
# A mask is much less work to draw than a matte. So the [backbone](GLOSSARY.md#backbone) first learns from many masks
# what a person looks like. The paper specifies neither the head nor the loss of this pre-training. We use a small head that
# reaches every scale: one $1 \times 1$ convolution on each map, with the answers added up from coarse to fine. The loss is
# the cross-entropy.


# %% tags=["nbval-check-output"]
def mask_logits(maps, heads):
    """Answers on maps from 1/4 to 1/32, added up: (N, 1, H/4, W/4)."""
    logits = heads[-1](maps[-1])
    for features, head in zip(maps[-2::-1], heads[-2::-1], strict=True):
        logits = head(features) + torch.nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")
    return logits


segmenter = network.Segmenter(load_checkpoint(paths.PRETRAINED).semantic_branch.backbone).to(device).eval()
with torch.no_grad():
    maps = segmenter.backbone(batch.image * 2 - 1)[1:]
    logits, library = mask_logits(maps, list(segmenter.heads)), segmenter(batch.image).semantic
torch.testing.assert_close(logits, library, atol=1e-4, rtol=0)
print("maps:", *(tuple(one.shape[1:]) for one in maps), "→ mask:", tuple(logits.shape[1:]))
print(f"largest difference: {(logits - library).abs().max().item():.5f} of 0.00010 allowed")

# %% [markdown]
# `modnet train overnight --recipe pretraining --folder runs/masks` trains it. The figure shows a recorded run of 2,500
# steps of 16 masks at 256 pixels, and its result on held-out people.

# %%
masks = results.recorded_run("overnight_pretraining")
groups = {"head and shoulders": "closeup", "half the body": "half", "whole body": "full", "two or more": "group"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
left.plot([int(step) for step in masks["curve"]], masks["curve"].values(), ".-")
left.set(xlabel="step", ylabel="cross-entropy", title="training on masks", ylim=(0, None))
kept = {name: masks["iou"][key] for name, key in groups.items()}
bars = right.barh([*kept], [one["mean"] for one in kept.values()], color=figures.BLUE)
right.bar_label(bars, [f"{one['mean']:.2f}, {one['pictures']} pictures" for one in kept.values()], padding=3)
right.set(xlim=(0, 1.4), xticks=np.arange(0, 1.1, 0.25), title="overlap (IoU) with the true mask")
right.invert_yaxis()

# %% [markdown]
# 73 of the true masks were drawn by hand; on these the overlap is 0.97<!-- mask_overlap -->. Whole bodies are clearly worse, but
# there are only seven of them. So the backbone can find people before it has seen a single matte. Notebook
# [04](04_ablation_study.ipynb) asks whether this gives better mattes after the same number of steps.

# %% [markdown]
# ## 8. A long run
#
# The shipped checkpoint was trained on two CPU cores, in three parts. The figure shows the first two; the
# [model card](../data/checkpoints/README.md) describes all three. The learning rate was changed by hand during the first
# part, so no recipe file reproduces the run exactly.
#
# **Predict.** Training pictures had a side of 192 pixels at first, later 256 and 384. The 16 held-out photographs were
# always measured at 384. What should happen to the held-out error when the size changes for the first time?

# %%
recorded = results.recorded_run("03_training")
curve = {key: np.array(values) for key, values in recorded["curve"].items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
for key, label in zip(("semantic", "detail", "matte", "loss"), symbols, strict=True):
    left.semilogy(curve["step"], curve[key], label=label, linewidth=1)
right.semilogy(curve["validation_step"], curve["validation_mad"], "o-", label="MAD")
right.semilogy(curve["validation_step"], 1 - curve["validation_iou"], "s--", label="1 − IoU")
for axis, title in ((left, "training"), (right, "held-out photographs")):
    for end in recorded["stage_ends"]:
        axis.axvline(end, color="grey", linestyle=":")
    axis.set(title=f"{title} (dotted: new sizes or data)", xlabel="step", ylabel="loss" if axis is left else "error")
    axis.legend(ncols=2, frameon=True, framealpha=1, edgecolor="none")

# %% [markdown]
# The training losses fall steadily, apart from small jumps where the data change. The held-out error does not: it grows from
# 0.34<!-- held_out_mad_400 --> at step 400 to 0.47<!-- held_out_mad_800 --> at step 800, and drops to
# 0.027<!-- held_out_mad_1200 --> at step 1,200, a hundred steps after the first change. The likely reason is e-ASPP. At
# 192 pixels it sees a map of $6 \times 6$ cells, where its farthest taps meet only padding (notebook
# [04](04_ablation_study.ipynb) counts them). At 384 pixels these taps meet the picture, with weights that were never
# trained. There are two lessons: train near the size you test at, and judge a run by held-out pictures, not by the
# training loss.
#
# Here is the answer of the finished checkpoint for the photograph of section 3:

# %%
trained = Matter.from_pretrained(device=device)
image, s_p, d_p, alpha_p = trained.predict(photograph)
cutout, hair = figures.checkerboard(image, alpha_p), alpha_p[figures.finest(alpha_p)]
titles = [
    "input",
    "semantics $s_p$",
    "details $d_p$",
    r"matte $\alpha_p$",
    "cut-out",
    "the most mixed part of the matte",
]
figures.image_row([image, s_p, d_p, alpha_p, cutout, hair], titles, columns=3)

# %% [markdown]
# Compare this matte with the last one of section 3. In a running notebook, the inspector puts both side by side: choose
# "twenty lines" under *beside it* and enlarge the hair four times. Then open *disturb*: which disturbance breaks the short
# run first?

# %%
rookie = Matter(model, short_side=192, device=device)
inspector.MatteInspector({"shipped": trained, "twenty lines": rookie}, portraits.portraits(profile.data))

# %% [markdown]
# ## 9. When it does not learn
#
# "The loss does not go down." "The matte is black." "There are holes in the body." These are common problems with a new
# training loop. We make four mistakes on purpose while we fine-tune the shipped network on four pictures for a few steps.
#
# **Predict.** Which of these mistakes does the loss curve reveal?
#
# - one picture per step, so that batch norm sees a single picture;
# - `alpha` divided by 255 twice;
# - a trimap that was multiplied by 255;
# - a learning rate of 1.


# %%
def fine_tune(change=lambda batch: batch, one=False, rate=1e-3, steps=8, prepare=MODNet.train):
    """Train the shipped network on four pictures; its losses, and its mattes of them afterwards."""
    tuned = load_checkpoint(paths.PRETRAINED).to(device)

    def same(step):
        part = slice(step % BATCH, step % BATCH + 1) if one else slice(None)
        return change(assemble.MattingBatch(*(field[part] for field in batch)))

    losses = train(tuned, torch.optim.AdamW(tuned.parameters(), rate), same, steps, prepare=prepare)
    with torch.no_grad():
        return np.array(losses), tuned.eval()(batch.image).alpha


def norms_rest(model):
    """Training mode, except for all batch norms."""
    state.freeze_norms(model.train())


# %%
runs = {
    "nothing wrong": fine_tune(),
    "batch of 1": fine_tune(one=True),
    "batch of 1, frozen": fine_tune(one=True, prepare=norms_rest),
    "alpha / 255 twice": fine_tune(lambda b: b._replace(true_alpha=b.true_alpha / 255), steps=20),
    "trimap × 255": fine_tune(lambda b: b._replace(trimap=b.trimap * 255), steps=4),
    "rate of 1": fine_tune(rate=1.0, steps=4),
}
wrong = {label: float((mattes - batch.true_alpha).abs().mean()) for label, (_, mattes) in runs.items()}
titles = [
    "training picture\n",
    "truth $\\alpha_g$\n",
    *(f"{label}\nMAD of all four: {mad:.2f}" for label, mad in wrong.items()),
]
figures.image_row([batch.image[0], batch.true_alpha[0], *(mattes[0] for _, mattes in runs.values())], titles)

# %%
figure, axes = plt.subplots(1, len(runs), figsize=(10, 2.3), layout="constrained", sharey=True)
for axis, (label, (losses, _)) in zip(axes, runs.items(), strict=True):
    axis.plot(losses[:, 2], label=r"$\mathcal{L}_\alpha$")
    axis.plot(10 * losses[:, 1], "--", label=r"$10\,\mathcal{L}_d$")
    axis.set(title=label.replace(", ", ",\n"), xlabel="step", ylim=(0, 1))
axes[0].set_ylabel("loss")
_ = axes[0].legend(fontsize=8)

# %% tags=["nbval-check-output"]
print("largest L_d with the trimap × 255:", runs["trimap × 255"][0][:, 1].max())
print(f"spread of the mattes after a rate of 1: {float(runs['rate of 1'][1].std()):.2f}")

# %% [markdown]
# The loss reveals the first and the last mistake. The trimap shows only if you look at $\mathcal{L}_d$ alone. The wrong
# alpha looks like success.
#
# | mistake | symptom | why | remedy |
# |---|---|---|---|
# | **one picture per step** | the loss jumps and does not settle; mattes of other pictures get worse | the statistics *and* the gradient of a single picture differ from those of others | batches of eight or more; frozen norms alone do not help (figure), and accumulated gradients give batch norm no more pictures |
# | **alpha divided by 255 twice** | the loss falls smoothly, mattes turn mostly black | the largest target is 0.004, so "nobody" is nearly right | print `true_alpha.max()`: it must be 1 |
# | **trimap at another scale** | $\mathcal{L}_d$ is *exactly* 0 | no pixel is 0.5, so $m_d$ is empty | print `trimap.unique()`: 0, 0.5, 1 |
# | **rate too high** | a jump, then a matte that is the same everywhere, or NaN | one step moves the weights to where every sigmoid is flat | divide by ten until the loss falls in the first hundred steps; warm up; clip |
#
# "Nothing wrong" is also the first check of any new loop: can the network memorise *one* batch? If it cannot, a target is
# probably wrong or a gradient is missing, and more data will not help.
#
# The library's loop stops if a loss is not finite, or if the matte has been the same everywhere for a hundred steps. It cannot
# detect the other three mistakes.

# %% [markdown]
# ## 10. Faster, and on several GPUs
#
# How fast a step is depends on how it is written: on the arithmetic it does and on the bytes it moves. `benchmarks/training.py`
# measured this on two CPU cores. The first five rows add one change after another to a single step. The last two rows compare
# whole loops, which also prepare the samples.

# %%
bench = results.recorded_run("training_benchmark")
cells = [[line["label"], f"{line['rate']:.1f}", f"{line['peak']:.2f}"] for line in bench["lines"]]
results.markdown_table([f"batches of {bench['batch']} at {bench['size']} pixels", "images/s", "memory, GiB"], cells)

# %% [markdown]
# At the last rate, and if the time grows with the number of pixels, the paper's 1.8 million images at 512 pixels would take
# 10<!-- days_of_the_paper --> days on those two cores.
#
# `torchrun --nproc_per_node 4 -m modnet_lib.cli train full --folder runs/full` divides every batch among four
# processes. Each computes the gradient of its part, and the gradients are averaged, so the step is that of the whole batch. A
# test compares the loss curve of two processes with that of one.
#
# **Predict.** What must the machines exchange in each step, and how long does that take at 10 Gbit/s?
#
# <details><summary>Answer</summary>
#
# One number for each weight: 3.37 million × 4 bytes = 13.5 MB, whatever the size of the pictures. Around a ring of many
# machines each byte travels about twice, which takes 22 ms at 10 Gbit/s. For comparison: at 1,000 images per second, a step
# of 16 images takes 16 ms. `CONTRIBUTING.md` has a table for 1, 4, 8 and 16 devices.
#
# </details>
#
# ## Results

# %%
days = 1.8e6 / bench["lines"][-1]["rate"] * (512 / bench["size"]) ** 2 / 86_400
held_out = dict(zip(curve["validation_step"].tolist(), curve["validation_mad"], strict=True))
results.record("steps_of_the_paper", paper.steps, paper=112_500)
results.record("loss_of_one_half", float(half.total))
results.record("loop_first_loss", history[0][-1])
results.record("loop_last_loss", np.mean(history[-8:], axis=0)[-1])
results.record("difference_after_resuming", difference)
results.record("mask_overlap", masks["iou"]["mask: human"]["mean"])
for step in (400, 800, 1200):
    results.record(f"held_out_mad_{step}", held_out[step])
results.record("days_of_the_paper", days)
results.ResultsTable("03_training", PROFILE)

# %% [markdown]
# ## What to believe, and what to use
#
# - **Believe** that the loop is right: one step equals the library's to 1e-5, and on a CPU a resumed run equals an
#   uninterrupted one bit for bit.
# - **Do not use the network of section 3.** It shows that the loop learns, not how good a network can get.
# - **The recorded run is a single run**, with one seed and a rate that was changed by hand. It warns you about picture
#   sizes. It does not tell you which part of the recipe matters.
# - **Start**, with your own data, from what the shipped checkpoint used: a pre-trained backbone, AdamW with a cosine, batches
#   of eight, averaged weights. Train at sizes near those you test at. Before a long run, compare the loss with that of a
#   useless answer, and overfit one batch.
# - Treat a loss that is exactly zero, or suspiciously good from the start, as a bug until you know the reason.

# %% [markdown]
# ## Exercises
#
# Exercises 1 to 4 check themselves and tell you what is wrong with an answer. Write your function in a new cell, then run:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("03.1", rate)
# ```
#
# **1.** Write `rate(step, steps, warm_up, base)`: during the first `warm_up` steps the rate grows linearly, from
# `base / warm_up` in step 0 to `base`. Afterwards it follows half a cosine over all `steps`, warm-up included: without the
# warm-up it would be `base` at step 0 and 0 at the end. `step` is an array.
#
# <details><summary>Answer</summary>
#
# ```python
# import numpy as np
#
#
# def rate(step, steps, warm_up, base):
#     cosine = 0.5 * (1 + np.cos(np.pi * step / steps))
#     return base * np.where(step < warm_up, (step + 1) / warm_up, cosine)
#
#
# check_answer("03.1", rate)
# ```
#
# </details>
#
# **2.** Write `average(old, new, n, decay)`, one update of the averaged weights in step `n`, with the growing decay of
# section 4.
#
# <details><summary>Answer</summary>
#
# ```python
# def average(old, new, n, decay):
#     share = min(decay, (1 + n) / (10 + n))
#     return share * old + (1 - share) * new
#
#
# check_answer("03.2", average)
# ```
#
# </details>
#
# **3.** Write `shorten(gradients, limit)`. Each row is a gradient. Rows longer than `limit` (Euclidean length) are scaled
# to that length; the others stay as they are.
#
# <details><summary>Answer</summary>
#
# ```python
# import numpy as np
#
#
# def shorten(gradients, limit):
#     length = np.linalg.norm(gradients, axis=1, keepdims=True)
#     return gradients * np.minimum(1, limit / length)
#
#
# check_answer("03.3", shorten)
# ```
#
# </details>
#
# **4.** Which constant answer $c$ minimises $\mathcal{L}_s$ for a batch whose mattes are on average 0.3? Which one minimises the
# first part of $\mathcal{L}_\alpha$, if the mattes are almost binary? (`"03.4"`: both, as a tuple.)
#
# <details><summary>Answer</summary>
#
# A squared error is smallest at the mean, $c = 0.3$. An absolute error is smallest at the median, and with 30 % ones the
# median is 0. So before the network has learned anything, these losses pull $\alpha_p$ towards 0 and $s_p$ towards 0.3.
#
# ```python
# check_answer("03.4", (0.3, 0))
# ```
#
# </details>
#
# **5.** Resuming was exact, although one run measured held-out pictures and the other did not. How could such a measurement
# have changed the result?
#
# <details><summary>Answer</summary>
#
# A measurement that changes state: batch norms left in training mode (their running averages would move), or random
# numbers drawn from the generator that training also uses. Ours measures in evaluation mode and draws no random numbers,
# and the loop returns to training mode before every step.
#
# </details>

# %% [markdown]
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022.
# - I. Loshchilov, F. Hutter. *Decoupled Weight Decay Regularization.* ICLR 2019. AdamW.
# - B. Polyak, A. Juditsky. *Acceleration of Stochastic Approximation by Averaging.* 1992. Averaged weights.
# - S. Ioffe, C. Szegedy. *Batch Normalization.* ICML 2015.
# - P. Micikevicius et al. *Mixed Precision Training.* ICLR 2018.
#
# **Next:** [04 Ablation study](04_ablation_study.ipynb) trains the network several times, adding one part each time.
