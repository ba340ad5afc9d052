# %% [markdown]
# # 04 Ablation study: which part of MODNet earns what?
#
# Table 3 of the paper has five lines and ten numbers, and carries the main claim: taking the problem apart helps.
# This notebook trains those lines again, each with several seeds, and asks of every difference how sure it is.

# %% [markdown]
# ## You will be able to
#
# - read an [ablation](GLOSSARY.md#ablation) table, and say what it does not tell;
# - set up a fair comparison: what must be equal, what may differ, which control is missing;
# - put an [interval](GLOSSARY.md#confidence-interval) on a difference between two trained networks, and say why it must be paired;
# - point at a matte and name the part that repairs it;
# - weigh what a part earns against what it costs.

# %% [markdown]
# ## Needs
#
# Notebooks [02](02_building_modnet.ipynb) (the parts) and [03](03_training.ipynb) (losses, pre-training).
# No download and no GPU.
# Reading takes about 21 minutes. The smoke profile takes about 30 seconds on two CPU cores; its grid only shows that everything is connected.
# The numbers to read come from a recorded run: 21 networks, each trained for minutes, not days.

# %% tags=["parameters"]
PROFILE = "smoke"

# %%
import shutil
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from modnet_lib import paths
from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.sets import drawn_people, training_data
from modnet_lib.evaluation.statistics import paired_difference
from modnet_lib.inference import Matter
from modnet_lib.network import EfficientASPP
from modnet_lib.network.layers import EASPP_DILATIONS
from modnet_lib.notebook.figures import image_row, show_prediction, show_source, use_style
from modnet_lib.notebook.inspector import MatteInspector
from modnet_lib.notebook.results import ResultsTable, record, recorded_run
from modnet_lib.objectives import paper_objective
from modnet_lib.profiles import Profile
from modnet_lib.training import grid
from modnet_lib.training.run import build_network

use_style()
profile = Profile.load(PROFILE)
RUN = paths.RUNS / "notebooks" / "04" / PROFILE
shutil.rmtree(RUN, ignore_errors=True)  # every execution starts afresh
recorded = recorded_run("04_ablation_study")
ablation = grid.Grid.load("ablation")
labels = {row: which.label for row, which in ablation.rows.items()}

# %% [markdown]
# ## 1. Table 3
#
# > We have also conducted ablation experiments for MODNet on PPM-100, as shown in Table 3. Applying $\mathcal{L}_s$ and
# > $\mathcal{L}_d$ to constrain portrait semantics and boundary details bring considerable performance improvements.
# >
# > — section "Results on AMD and PPM-100"
#
# The rows are cumulative: each keeps what the one above it has, and adds one thing.
# **Predict** before you look: which addition lowers the error most?

# %% tags=["nbval-check-output"]
paper = {row: which.paper["natural"] for row, which in ablation.rows.items() if which.paper}
for row, (mse, mad) in paper.items():
    print(f"{labels[row]:10s} MSE {mse:.4f}   MAD {mad:.4f}")
for (before, after), (row, _) in zip(pairwise(paper.values()), list(paper.items())[1:], strict=True):
    print(f"{labels[row]:10s} MAD {100 * (after[1] / before[1] - 1):+.0f} %")

# %% [markdown]
# The largest step is $\mathcal{L}_s$; e-ASPP and pre-training follow; $\mathcal{L}_d$ is the smallest. Over 100
# pictures the mean says nothing about where: a border has few pixels, so it can hardly move a mean.
#
# Three things the table does not tell:
#
# - **One number a row.** Train the same row with another seed, and another number comes out. How far apart?
# - **More steps.** The last row has seen more training than the others. Is it the masks that help, or the steps?
# - **The price.** What does e-ASPP cost, compared with nothing and with the ASPP it replaces?

# %% [markdown]
# ## 2. A fair comparison
#
# Two networks differ for many reasons: the first random weights, the pictures they saw, the order, the augmentation. To
# see *one* cause, everything else should be equal. So a row is a recipe that changes exactly one entry; with the same
# seed, all rows see the same samples in the same order. Here is what changes from row to row:

# %% tags=["nbval-check-output"]
for row in ablation.rows:
    recipe = grid.recipe(ablation, profile, row, 1, RUN)
    start = "masks" if "pretraining" in str(recipe.backbone_weights) else "–"
    weights, steps = recipe.training.loss_weights, recipe.training.steps
    print(f"{labels[row]:24s} weights {weights}  context {recipe.context:6s} pre-trained {start:5s} {steps} steps")

# %% [markdown]
# The last two rows are ours. "Longer" is the control for pre-training: it spends the steps of pre-training on ordinary
# training instead. "ASPP" is what e-ASPP was made from.
#
# One thing cannot be equal: a network with e-ASPP draws more random numbers when it is made, so D and F begin with other
# weights. That is noise, not a bias, and noise is what several seeds are for.
#
# **Predict.** With $\lambda_s = \lambda_d = 0$, what does the gradient do to the two extra heads of the network, the ones
# that answer $s_p$ and $d_p$? And to S and D themselves?

# %%
network = build_network(grid.recipe(ablation, profile, "none", 1, RUN)).train()
dataset = training_data(profile.data, profile.seed)
batch = assemble(collate([dataset[number, 64] for number in range(4)]))
loss = paper_objective(network(batch.image), batch, (0.0, 0.0, 1.0))
loss.total.backward()


# %% tags=["nbval-check-output"]
def has_gradient(module):
    """Whether any weight of the module would move."""
    return any(w.grad is not None and bool(w.grad.abs().sum() > 0) for w in module.parameters())


print("head of s_p:", has_gradient(network.semantic_branch.head))
print("backbone of S:", has_gradient(network.semantic_branch.backbone))
print("D:", has_gradient(network.detail_branch), " F:", has_gradient(network.fusion_branch))

# %% [markdown]
# Nothing reaches the heads; S and D still learn, through F. Without the extra terms MODNet is an ordinary network with
# two paths, free to decide what each of them does. The objective decomposition is the terms, not the branches.

# %% [markdown]
# ## 3. The grid, small
#
# `modnet grid ablation PROFILE --folder F` trains every row with every seed, resumes an interrupted run, and measures. The
# same from here; the smoke profile takes three steps a row, with two seeds, and leaves out ASPP, which is slow.

# %%
rows = [row for row in ablation.rows if PROFILE != "smoke" or row != "aspp"]
live = grid.run_grid(ablation, profile, RUN, rows=rows)

# %% tags=["nbval-check-output"]
measured = live["errors"]["natural"]
print("runs:", sum(len(measured[row]["mad"]) for row in rows))
print("seeds and pictures:", np.shape(measured["easpp"]["mad"]))
means = [np.mean(measured[row]["mad"]) for row in rows]
print("every row is as bad as knowing nothing:", min(means) > 0.3)

# %% [markdown]
# After three steps all rows are near 0.5, the error of answering "half" everywhere. If they were not, something would
# be wrong. In the other profiles this cell takes minutes to hours and these are real numbers.
#
# From here on we read the recorded run. Its recipe lies beside it, and starts it again:
# the head of `data/results/04_ablation_study.yaml` has the two commands.

# %%
found = recorded["errors"]["natural"]  # by row and metric: (seeds, pictures)
print(recorded["provenance"])

# %% [markdown]
# ## 4. Table 3 beside ours
#
# Read the columns separately. The paper has 40 epochs on a GPU, 3,000 hand-made mattes and PPM-100; we have 500 steps
# on two CPU cores, pseudo-mattes, and other photographs. What can be compared is the direction and the relative size
# of each step.

# %%
print(f"{'':24s}{'paper: MSE':>12s}{'MAD':>9s}{'ours: MSE':>14s}{'MAD':>9s}{'seeds':>20s}")
for row, which in ablation.rows.items():
    theirs = "".join(f"{value:.4f}".rjust(w) for value, w in zip(paper.get(row, ()), (12, 9), strict=False))
    mse, mad = (np.mean(found[row][metric]) for metric in ("mse", "mad"))
    seeds = " ".join(f"{np.mean(run):.3f}" for run in found[row]["mad"])
    print(f"{which.label:24s}{theirs:21s}{mse:14.4f}{mad:9.4f}{seeds:>22s}")

# %% [markdown]
# Two things stand out. Our rows are much closer together than the paper's, and the order is not the paper's. Then look
# at the last column: within one row the seeds differ by up to 0.02, more than any two rows differ.
# With one seed a row, this table could have told almost any story. Which of its differences mean something?

# %% [markdown]
# ## 5. How sure is a difference?
#
# Two things could have come out differently: the **seed** and the **pictures**. A difference is worth believing if it
# survives both. Look at the pictures first: one dot for each, its error in one row against its error in the next.

# %%
errors = {row: np.array(found[row]["mad"]) for row in ablation.rows}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained", sharex=True, sharey=True)
for axis, (before, after) in zip(axes, ablation.compare[:4], strict=True):
    axis.loglog(errors[before].mean(axis=0), errors[after].mean(axis=0), ".", markersize=4)
    axis.axline((0.01, 0.01), (0.1, 0.1), color="grey", linewidth=1)
    axis.set(title=labels[after], xlabel="MAD before", aspect="equal")
axes[0].set_ylabel("MAD after")
_ = figure.supxlabel("A dot is a picture. Below the line: the addition helped it.", fontsize=9)

# %% [markdown]
# The dots follow the diagonal: a hard picture is hard for both. Errors of different pictures differ by a factor of
# six; what a part adds is far less. Compare two means as if they were measured on different pictures, and the
# spread of the pictures drowns the effect. So take the difference *in each picture*, then the mean.
#
# For the interval, draw seeds and pictures again, with replacement, many times: sometimes a seed counts twice and
# another not at all. The middle 95 % of the resampled means is the interval. (Owen's *pigeonhole bootstrap*: rows and
# columns of the table are drawn independently, because all pictures share a seed and all seeds share the pictures.)

# %%
show_source(paired_difference)

# %% tags=["nbval-check-output"]
before, after = errors["none"], errors["semantic"]
paired = paired_difference(before, after)
rng = np.random.default_rng(0)
shuffled = paired_difference(before, after[:, rng.permutation(after.shape[1])])
print("the mean is the same:", bool(np.isclose(paired.mean, shuffled.mean)))
wider = (shuffled.high - shuffled.low) / (paired.high - paired.low)
print(f"without pairing the interval is {wider:.1f} times as wide")
alike = paired_difference(np.zeros((3, 50)), np.full((3, 50), -0.01))
print("every picture changes alike, so the interval is", (round(alike.low, 3), round(alike.high, 3)))

# %% [markdown]
# Three seeds are few: a bootstrap over three of them is rough, and tends to be too narrow. It still tells a difference
# that every seed shows from one that hangs on a single lucky run. Now all comparisons:

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained", sharey=True)
for axis, metric in zip(axes, ("mse", "mad"), strict=True):
    for place, one in enumerate(grid.compare(ablation, recorded, metric)):
        mean, low, high = (100 * value for value in one.change)
        axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color="#0072B2", capsize=3)
        runs = (np.array(found[row][metric]).mean(axis=1) for row in (one.after, one.before))
        axis.plot(100 * np.subtract(*runs), [place + 0.25] * 3, "|", color="#D55E00", markersize=8)
    axis.axvline(0, color="grey", linewidth=1)
    axis.set(title=metric.upper(), xlabel="change × 100; left of zero is better")
names = [f"{labels[before]} → {labels[after]}" for before, after in ablation.compare]
axes[0].set_yticks(range(len(names)), names)
axes[0].invert_yaxis()
_ = figure.supxlabel("Dot and bar: mean and 95 % interval. Orange: each seed alone.", fontsize=9)

# %% tags=["nbval-check-output"]
for metric in ("mse", "mad"):
    for one, name in zip(grid.compare(ablation, recorded, metric), names, strict=True):
        mean, low, high = one.change
        verdict = "" if one.change.is_clear else "   not clear"
        print(f"{metric.upper()}  {name:40s} {mean:+.4f}  [{low:+.4f}, {high:+.4f}]{verdict}")

# %% [markdown]
# What this grid can say, and what it cannot:
#
# - **$\mathcal{L}_d$ is confirmed.** The squared error falls by 16 %, with every seed. It is the smallest step of the
#   paper and the clearest of ours.
# - **$\mathcal{L}_s$ is not detectable.** Its interval has zero in the middle. In the paper it is the largest step.
#   Five hundred steps of eight pictures are 4,000 samples, the paper's 40 epochs are 1.8 million: what a term earns
#   at convergence, a short run need not show.
# - **e-ASPP is not confirmed.** The squared error does not change clearly, the absolute error rises. Section 8 finds
#   out why.
# - **SPS is not confirmed.** Against the control it gains nothing in MSE, and in MAD the control is clearly better:
#   two hundred more steps on mattes were worth more than two hundred on masks. Without the control we would not know.
# - **e-ASPP against ASPP**: the squared error is clearly higher, by 0.0018. The absolute error is undecided.
#
# This does not refute the paper. It says that the effects of $\mathcal{L}_s$, e-ASPP and SPS are not visible after
# minutes of training from ImageNet weights. The `full` profile trains the same grid longer, and
# `modnet grid ablation full --folder runs/ablation` writes the same tables.

# %% [markdown]
# ## 6. What does each part repair?
#
# > Semantic masks predicted by MobileNetV2 may have holes in some challenging foregrounds or backgrounds.
# >
# > — section "Efficient ASPP (e-ASPP)"
#
# **Predict**: where in the picture should each part act? $\mathcal{L}_s$ asks where the person is: fewer wrong patches
# outside, fewer missing limbs inside. $\mathcal{L}_d$ looks at the border only. e-ASPP should close holes: errors
# *inside*. The trimap of the truth splits every picture into these three regions, and the error into three parts.

# %%
parts = {"inside": "#0072B2", "band": "#E69F00", "outside": "#999999"}
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
left = np.zeros(len(ablation.rows))
for part, colour in parts.items():
    width = np.array([np.mean(found[row][part]) for row in ablation.rows]) * 100
    axis.barh(range(len(left)), width, left=left, color=colour, label=part)
    left += width
axis.set_yticks(range(len(left)), labels.values())
axis.invert_yaxis()
axis.set(xlabel="MAD × 100", title="Where the error lies")
_ = axis.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %% tags=["nbval-check-output"]
for part in parts:
    changes = grid.compare(ablation, recorded, part)[:4]
    line = "   ".join(
        f"{labels[one.after]:>8s} {100 * one.change.mean / one.values[0]:+4.0f} %{' ' if one.change.is_clear else '?'}"
        for one in changes
    )
    print(f"{part:8s}{line}")
print("? = the interval contains zero")

# %% [markdown]
# The prediction for $\mathcal{L}_d$ holds: the band is where it works, a fifth less error there. The price is paid
# elsewhere; the error inside grows by half, but inside was only a twentieth of the whole. e-ASPP was to close holes, and
# the error inside did not fall.
#
# Numbers first, pictures second: a picture can be chosen, a mean cannot. These five drawn people are the first five of
# the validation seeds, not the nicest.

# %%
mattes = Image.open(paths.RESULTS / "04_ablation_study.jpg")
tile_width, tile_height = grid.TILE
titles = ["photograph", *(labels[row].replace(" instead of", "\nnot") for row in ablation.rows), "truth"]
columns = [np.asarray(mattes)[:, i * tile_width : (i + 1) * tile_width] for i in range(mattes.width // tile_width)]
image_row(columns, titles, caption="Look for patches outside, holes inside, and the softness of hair.")

# %% [markdown]
# From the third column on, $\mathcal{L}_d$: legs come apart, the gap between arm and body opens, fingers appear.
# $\mathcal{L}_s$ alone is hard to tell from nothing. e-ASPP leaves dark patches in long hair, the very holes it should
# close, and wisps outside. The last person, seen close, defeats all rows: people in our photographs stand far away.
# No row draws single hairs; 256 pixels are too few for that.

# %% [markdown]
# ## 7. What it costs: e-ASPP and its one per cent
#
# > Compared to the original ASPP, our proposed e-ASPP has only 1 % of the parameters and 1 % of the computational
# > overhead.
# >
# > In MODNet, our experiments show that e-ASPP can achieve performance comparable to ASPP.
# >
# > — section "Efficient ASPP (e-ASPP)"; the counting is in Appendix A
#
# Notebook [02](02_building_modnet.ipynb#3-from-aspp-to-e-aspp-fig-3-eq-916) derived the 1 % of Eq. 15 and 16 for the
# module. **Predict** what is left of it in the whole network, where the backbone and D cost something too.

# %%
print(f"{'':10s}{'parameters':>14s}{'GFLOPs':>9s}{'ms (CPU)':>10s}{'MAD':>9s}")
shown = {"none": "detail", "e-ASPP": "easpp", "ASPP": "aspp"}
for name, row in shown.items():
    cost, mad = recorded["cost"][row], np.mean(found[row]["mad"])
    print(f"{name:10s}{cost['parameters']:14,.0f}{cost['gflops']:9.1f}{cost['milliseconds']:10.0f}{mad:9.4f}")

# %% tags=["nbval-check-output"]
base, light, heavy = (recorded["cost"][row] for row in shown.values())
for unit in ("parameters", "gflops"):
    added, full = light[unit] - base[unit], heavy[unit] - base[unit]
    print(f"{unit}: e-ASPP adds {100 * added / full:.2f} % of what ASPP adds")
print(f"share of the network's weights: e-ASPP {1 - base['parameters'] / light['parameters']:.0%},", end=" ")
print(f"ASPP {1 - base['parameters'] / heavy['parameters']:.0%}")

# %% [markdown]
# The counting of the paper is confirmed to the digit: one per cent of the parameters and one per cent of the
# operations. In the whole network ASPP would be almost everything: 97 % of the weights, and it doubles the time of a
# picture. e-ASPP adds 7 % of the time. "Comparable performance" holds with a small print: after this training ASPP has
# a squared error 12 % lower, clearly; in the absolute error the two cannot be told apart.
#
# The other rows of Table 3 cost nothing when the network is used: $\mathcal{L}_s$, $\mathcal{L}_d$ and pre-training
# exist during training only. Their heads are not even computed then.

# %% [markdown]
# ## 8. A trap: how our first grid said that e-ASPP hurts
#
# The recorded grid has two parts: 400 steps at 160 pixels, because they are cheap, then 100 steps at 256. After the
# first part alone, the same comparison looked like this:

# %% tags=["nbval-check-output"]
small = recorded_run("04_ablation_study_160")
for name, result in (("160 pixels", small), ("then 256", recorded)):
    change = grid.compare(ablation, result, "mad")[2].change
    print(f"{name:10s}  + L_d → + e-ASPP  {change.mean:+.4f}  [{change.low:+.4f}, {change.high:+.4f}]")

# %% [markdown]
# With 300 measurements and an interval far from zero: *clear*, and misleading. The interval says that the difference
# would come back with other seeds and pictures. It does not say why.
#
# **Predict.** S shrinks 160 pixels by 32: a map of $5 \times 5$. Which taps of e-ASPP (rates 1, 2, 3, 5, 7) ever meet
# another cell of it? A tap at distance $d$ needs $d \le 4$. Let the gradient count, for four sizes of the map:

# %% tags=["nbval-check-output"]
for cells in (5, 6, 8, 16):
    _ = torch.manual_seed(0)
    module = EfficientASPP(64)
    module(torch.rand(4, 64, cells, cells)).square().sum().backward()
    moved = [int((scale[0].weight.grad.abs().sum(dim=(0, 1)) > 0).sum()) for scale in module.scales]
    rates = "  ".join(f"{rate}: {taps} of 9" for rate, taps in zip(EASPP_DILATIONS, moved, strict=True))
    print(f"{32 * cells:3d} pixels, {cells:2d} cells a side   {rates}")

# %% [markdown]
# At 160 pixels, 16 of 45 taps are never trained: they keep their random weights. In training that does no harm, they see
# padding. But the protocol keeps proportions, and a street photograph is $160 \times 240$, a map of $5 \times 7$. Now the
# far taps meet cells, and add noise: a grey haze *outside* of the person. Measured on squares of the training size
# (`modnet evaluate --benchmark ccp --count 50 --protocol squash --short-side 160 --model …/easpp-1/modnet.safetensors`) the MAD of
# the first seed falls from 0.074 to 0.046, while the row without e-ASPP has 0.048 and 0.050.
#
# From 256 pixels on every tap is trained. A hundred steps there were enough to change the result. Two lessons: train
# near the size you test at, and ask *where* an error lies before you blame a part.

# %% [markdown]
# ## 9. Ask the network itself
#
# The shipped checkpoint has all parts of the last row. Its three answers show the division of labour that the losses
# asked for: $s_p$ knows where, $d_p$ knows the border, and neither knows both.

# %%
portrait = drawn_people(4, "validation").readers[3]()
image, true = portrait.image, portrait.alpha / 255
matter = Matter.from_pretrained(device=profile.device)
show_prediction(matter.predict(image))

# %%
MatteInspector(matter, {"drawn": image}, truths={"drawn": true})

# %% [markdown]
# ## Results

# %%
for row, (mse, mad) in paper.items():
    record(f"mse_{row}", np.mean(measured[row]["mse"]), paper=mse)
    record(f"mad_{row}", np.mean(measured[row]["mad"]), paper=mad)
ResultsTable("04_ablation_study", PROFILE)

# %% [markdown]
# ## Summary
#
# - An ablation row changes one thing. Everything else is equal, the order of the samples too.
# - Differences are taken in each picture and each seed, then averaged. Pairing made the interval four times narrower.
# - At our scale $\mathcal{L}_d$ is confirmed, $\mathcal{L}_s$ and SPS are not visible, and e-ASPP costs a little error.
# - A control can turn a verdict: more steps on mattes beat pre-training on masks here.
# - e-ASPP has one per cent of the cost of ASPP, as the paper says, and nearly its error.
# - A clear interval is no explanation. Ask where the error lies, and whether training and test have the same size.

# %% [markdown]
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("04.1", ...)
# ```
#
# **1.** A friend compares two networks on 100 pictures and finds means of 0.040 and 0.038 with a standard deviation of
# 0.03 over pictures each, and of 0.004 for the difference in each picture. "Within one standard deviation, so no
# difference." What do you answer? (`"04.1"`: how well is the mean difference known?)
#
# <details><summary>Answer</summary>
#
# The standard deviation over pictures says how different the pictures are. What counts is the deviation of the
# *difference in each picture*. It is 0.004, so its mean over 100 pictures is known to $0.004 / \sqrt{100} = 0.0004$,
# and 0.002 is five times that. And ask for a second seed: this interval covers other pictures, not another training.
#
# ```python
# check_answer("04.1", 0.004 / 100**0.5)
# ```
#
# </details>
#
# **2.** Why does the control train *longer* instead of pre-training on mattes of the same photographs?
#
# <details><summary>Answer</summary>
#
# Two causes could explain the gain of pre-training: more updates, or other data (masks). The control holds the number
# of updates equal. If it gains as much, steps were the cause. Our masks come from the same data set as the mattes, but
# from more photographs; to separate *more photographs* from *masks* as labels, one more row is needed. Which?
# (Train the mattes' rows on pseudo-mattes of all those photographs.)
#
# </details>
#
# **3.** Six comparisons with 95 % intervals. If no part did anything, how often would at least one look clear?
# (`"04.3"`)
#
# <details><summary>Answer</summary>
#
# If they were independent, $1 - 0.95^6 = 26 \%$. They share rows, so it is somewhat less. Do not celebrate a single
# clear interval whose end touches zero; ask for 99 % intervals, or for more seeds.
#
# ```python
# check_answer("04.3", 1 - 0.95**6)
# ```
#
# </details>

# %% [markdown]
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022. Table 3, Appendix A.
# - A. Owen. *The pigeonhole bootstrap.* Annals of Applied Statistics, 2007.
# - L.-C. Chen et al. *Rethinking Atrous Convolution for Semantic Image Segmentation.* 2017. ASPP.
# - X. Bouthillier et al. *Accounting for Variance in Machine Learning Benchmarks.* MLSys 2021. Why one seed is not enough.
#
# **Next:** [05 PPM-100 evaluation](05_ppm100_evaluation.ipynb): how good is the whole network, and where does it fail?
