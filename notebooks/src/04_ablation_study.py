# %% [markdown]
# # 04 Ablation study: which part of MODNet earns what, and how sure is that?
#
# Table 3 of the paper supports its main claim, that decomposing the problem helps, with five rows of two numbers each.
# This notebook trains the same rows with several seeds, and builds the tool that separates a difference from chance.

# %% [markdown]
# ## You will be able to
#
# - read an [ablation](GLOSSARY.md#ablation) table, and say what it leaves out;
# - set up a fair comparison: what must be equal, what may differ, which control is needed;
# - write a paired bootstrap, and put a [confidence interval](GLOSSARY.md#confidence-interval) on the difference between two networks;
# - locate an error: inside the person, in the transition region, or outside;
# - say when a table supports a claim, and when it does not.
#
# ## Contents
#
# 1. [Table 3 of the paper](#1.-Table-3-of-the-paper)
# 2. [A fair comparison](#2.-A-fair-comparison)
# 3. [The grid](#3.-The-grid)
# 4. [Our Table 3](#4.-Our-Table-3)
# 5. [A paired bootstrap in eight lines](#5.-A-paired-bootstrap-in-eight-lines)
# 6. [What the table supports](#6.-What-the-table-supports)
# 7. [The control](#7.-The-control)
# 8. [Where the error lies](#8.-Where-the-error-lies)
# 9. [What e-ASPP costs](#9.-What-e-ASPP-costs)
# 10. [A clear interval is not an explanation](#10.-A-clear-interval-is-not-an-explanation)
#
# ## Needs
#
# Notebooks [02](02_building_modnet.ipynb) (the parts) and [03](03_training.ipynb) (losses, pre-training).
# No download and no GPU.
# Reading takes about 27 minutes. The smoke profile takes about 25 seconds on two CPU cores. Its grid only shows that the
# code runs, so the tables show a recorded run. In the larger profiles they show the run of the profile.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import shutil

import matplotlib.pyplot as plt
import numpy as np
import torch

from modnet_lib import Matter, MODNet, images, paths, profiles
from modnet_lib.evaluation import methods, metrics, statistics
from modnet_lib.network import EfficientASPP, cost, layers
from modnet_lib.notebook import figures, portraits, results
from modnet_lib.training import grid, validation

# %%
figures.use_style()
profile = profiles.Profile.load(PROFILE)
RUN = paths.RUNS / "notebooks" / "04" / PROFILE
if PROFILE == "smoke":
    shutil.rmtree(RUN, ignore_errors=True)  # other profiles continue
ablation = grid.Grid.load("ablation")
labels = {row: which.label.replace("L_s", "$L_s$").replace("L_d", "$L_d$") for row, which in ablation.rows.items()}

# %% [markdown]
# ## 1. Table 3 of the paper
#
# > We have also conducted ablation experiments for MODNet on PPM-100, as shown in Table 3. Applying $\mathcal{L}_s$ and
# > $\mathcal{L}_d$ to constrain portrait semantics and boundary details bring considerable performance improvements.
# >
# > — section "Results on AMD and PPM-100"
#
# The rows are cumulative: each keeps what the one above it has and adds one thing.
#
# **Predict.** Which addition lowers the error most, and which least?

# %% tags=["nbval-check-output"]
paper = {row: which.paper["natural"] for row, which in ablation.rows.items() if which.paper}
cells, last = [], None
for row, (mse, mad) in paper.items():
    cells.append([labels[row], f"{mse:.4f}", f"{mad:.4f}", f"{100 * (mad / last - 1):+.0f} %" if last else ""])
    last = mad
results.markdown_table(["Table 3", "MSE", "MAD", "change of MAD"], cells)

# %% [markdown]
# $\mathcal{L}_s$ is the largest step in MAD and $\mathcal{L}_d$ the smallest. But $\mathcal{L}_d$ acts on the outline
# only, and a mean over the whole picture does not show where it helped. The table leaves out three things:
#
# - **One number per row.** Another seed gives another number. How far apart are they?
# - **Equal training.** The last row was trained longer than the others: first on masks, then on mattes. Is it the masks
#   that help, or the additional steps?
# - **The place.** Does the error lie inside the person, at the outline, or far outside?

# %% [markdown]
# ## 2. A fair comparison
#
# Two networks differ for many reasons: the initial weights, the pictures, their order, the augmentation. To see the effect
# of *one* cause, everything else should be equal. So each row is a recipe in which one entry changes. With the same seed,
# all rows see the same samples in the same order. The last column is the number of steps on mattes in the present profile.

# %% tags=["nbval-check-output"]
cells = []
for row in ablation.rows:
    recipe = grid.recipe(ablation, profile, row, 1, RUN)
    start = "masks" if ablation.rows[row].pretrained else "–"
    weights = ", ".join(f"{weight:g}" for weight in recipe.training.loss_weights)
    cells.append([labels[row], weights, recipe.context, start, recipe.training.steps])
results.markdown_table(["row", r"$\lambda_s, \lambda_d, \lambda_\alpha$", "context", "pre-trained", "steps"], cells)

# %% [markdown]
# The last two rows are ours. "Longer" is the control for pre-training: it takes as many additional steps, but on mattes.
# "ASPP" has the original module instead of e-ASPP.
#
# One thing cannot be equal. A network with e-ASPP draws more random numbers when it is built, so D and F start with
# different weights. That is noise, not bias, and averaging over several seeds reduces it.
#
# **Predict.** In the row "none" only $\mathcal{L}_\alpha$ counts. Which weights get a gradient: the head that predicts $s_p$?
# The head that predicts $d_p$? S and D themselves?

# %% tags=["nbval-check-output"]
_ = torch.manual_seed(0)
model = MODNet(context="none").train()
model(torch.rand(2, 3, 64, 64)).alpha.mean().backward()  # a loss of alpha_p alone
semantic, detail = model.semantic_branch, model.detail_branch
parts = {"S: backbone": semantic.backbone, "S: head of $s_p$": semantic.head, "D: head of $d_p$": detail.head}
cells = []
for name, part in (parts | {"D, its head included": detail, "F": model.fusion_branch}).items():
    tensors = list(part.parameters())
    reached = sum(one.grad is not None and bool(one.grad.any()) for one in tensors)
    cells.append([name, f"{reached} of {len(tensors)}"])
results.markdown_table(["part", "tensors that get a gradient"], cells)

# %% [markdown]
# No gradient reaches the two heads. S and D still learn, through F. Without the extra terms, MODNet is an ordinary network
# with two paths, and nothing tells the paths what to do. It is the losses that decompose the objective, not the branches.

# %% [markdown]
# ## 3. The grid
#
# `modnet grid ablation PROFILE --folder F` trains every row with every seed, resumes an interrupted run, and measures all networks
# on the same held-out pictures. The next cell does the same; in the smoke profile it takes three steps per row.

# %%
rows = ["none", "detail", "pretrained"] if PROFILE == "smoke" else list(ablation.rows)
live = grid.run_grid(ablation, profile, RUN, rows=rows)
result = results.recorded_run("04_ablation_study") if PROFILE == "smoke" else live
found = result["errors"]["natural"]  # by row and metric: (seeds, pictures)
print(result["provenance"])

# %% [markdown]
# After three steps, every row still has a MAD above 0.4<!-- smallest_mad_after_three_steps -->, close to the 0.5 of
# the answer "one half". That is to be expected. The line above says how the recorded networks were trained and measured.
# Their recipes are `04_ablation_study_160.yaml` and `04_ablation_study.yaml` in `data/results`.

# %% [markdown]
# ## 4. Our Table 3
#
# The paper's networks were trained for 40 epochs on hand-made mattes and measured on PPM-100. Ours saw 4,000 samples
# each, with pseudo-mattes, and were measured on other photographs. So do not compare our values with the paper's. At best,
# compare the *direction* of a step. **Our run is too short to decide much; the next sections show how little.**

# %%
cells = []
for row in ablation.rows:
    theirs = [f"{value:.4f}" for value in paper.get(row, ())] or ["", ""]
    own = [f"{np.mean(found[row][metric]):.4f}" for metric in ("mse", "mad")] if row in found else ["", ""]
    cells.append([labels[row], *theirs, *own])
results.markdown_table(["", "MSE, paper", "MAD, paper", "MSE, ours", "MAD, ours"], cells)

# %%
rows = [row for row in ablation.rows if row in found]
errors = {row: np.array(found[row]["mad"]) for row in rows}
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
for place, row in enumerate(rows):
    seeds = errors[row].mean(axis=1)
    axis.plot(seeds, [place] * len(seeds), "o", color=figures.BLUE, alpha=0.7)
    axis.plot(seeds.mean(), place, "|", color=figures.RED, markersize=18)
axis.set_yticks(range(len(rows)), [labels[row] for row in rows])
axis.set_ylim(len(rows) - 0.5, -0.5)
_ = axis.set(xlabel="MAD", title="Dot: one seed, mean over all pictures. Bar: mean of the seeds.")

# %% [markdown]
# The order of the bars is not the paper's. But look at the dots: within a row, the seeds lie up to
# 0.023<!-- widest_seeds --> apart, more than the means of any two rows. With a single seed per row, we might have seen quite
# a different order.

# %% [markdown]
# ## 5. A paired bootstrap in eight lines
#
# Two things could have come out differently: the **seeds** and the **pictures**. A difference is credible if it survives
# both. Look at the pictures first. In the figure, each dot is a picture, with its error before and after an addition.

# %%
worst = 1.1 * max(each.mean(axis=0).max() for each in errors.values())
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained", sharex=True, sharey=True)
for axis, (before, after) in zip(axes, [pair for pair in ablation.compare if {*pair} <= {*rows}], strict=False):
    axis.plot(errors[before].mean(axis=0), errors[after].mean(axis=0), ".", markersize=5)
    axis.axline((0, 0), slope=1, color="grey", linewidth=1)
    axis.set(xlim=(0, worst), ylim=(0, worst), xlabel="MAD before", aspect="equal")
    axis.set_title(f"{labels[before]} → {labels[after]}")
axes[0].set_ylabel("MAD after")
_ = figure.supxlabel("A dot is a picture. Below the line: the addition helped it.", fontsize=9)

# %% [markdown]
# The dots follow the diagonal: a hard picture is hard for both networks. Errors differ between pictures by a factor of about
# six; adding a part changes them far less. So we take the difference *in each picture* first, and then the mean.
#
# For the interval, imagine that the experiment is repeated with other seeds and other pictures. We have no others, so we
# draw from those we have, with replacement: some count twice, some not at all. Seeds and pictures are drawn independently,
# because every seed is measured on every picture (Owen's *pigeonhole bootstrap*). The middle 95 % of the resampled means is
# the interval.


# %%
def paired_bootstrap(before, after, draws=10_000):
    """Mean change, and the change in every draw; both tables are (seeds, pictures)."""
    change, rng = after - before, np.random.default_rng(0)
    (n, m), means = change.shape, np.empty(draws)
    for number in range(draws):
        seeds, pictures = rng.integers(n, size=n), rng.integers(m, size=m)
        means[number] = change[seeds][:, pictures].mean()
    return change.mean(), means


# %% [markdown]
# The library's `paired_difference` uses `scipy.stats.bootstrap` for the resampling. With other random numbers the ends of the
# intervals move a little. For 10,000 draws we allow 5 % of the interval's width:

# %% tags=["nbval-check-output"]
pairs = [pair for pair in ablation.compare if {*pair} <= {*rows}]
largest = 0.0
_, alike = paired_bootstrap(np.zeros((3, 5)), np.full((3, 5), -0.01))
print("every picture changes by -0.01: interval", np.percentile(alike, [2.5, 97.5]).round(3))
for before, after in pairs:
    mean, means = paired_bootstrap(errors[before], errors[after])
    library = statistics.paired_difference(errors[before], errors[after])
    ends = np.percentile(means, [2.5, 97.5]) - (library.low, library.high)
    largest = max(largest, np.abs(ends).max() / (library.high - library.low))
    np.testing.assert_allclose(mean, library.mean)
print(f"{len(pairs)} intervals; largest distance of an end: {100 * largest:.0f} % of the width, 5 % allowed")
assert largest < 0.05

# %% [markdown]
# **Predict.** Forget which errors belong to the same picture, that is, shuffle the pictures of one row. What happens to
# the mean, and what to the interval?

# %%
before, after = errors["semantic"], errors["detail"]
shuffled = np.random.default_rng(1).permutation(after, axis=1)
(mean, paired), (same, unpaired) = paired_bootstrap(before, after), paired_bootstrap(before, shuffled)
figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
look = {"color": [figures.ORANGE, figures.BLUE], "histtype": "stepfilled", "alpha": 0.7}
axis.hist([unpaired, paired], bins=100, label=["shuffled", "paired"], **look)
axis.axvline(0, color=figures.BLACK)
axis.set(xlabel=f"change of MAD, {labels['semantic']} → {labels['detail']}", ylabel="draws")
_ = axis.legend()

# %% tags=["nbval-check-output"]
widths = [np.diff(np.percentile(draws, [2.5, 97.5]))[0] for draws in (paired, unpaired)]
wider = widths[1] / widths[0]
print(f"means: {mean:+.5f} paired, {same:+.5f} shuffled")
print(f"widths: {widths[0]:.4f} paired, {widths[1]:.4f} shuffled, {wider:.1f} times as wide")

# %% [markdown]
# The mean stays the same; the interval becomes 3.6<!-- shuffled_over_paired --> times as wide. The width falls roughly with
# the square root of the number of pictures, so an unpaired comparison would need about $3.6^2 = 13$ times as many pictures
# for the same precision.
#
# Three seeds are few: an interval from three of them is rough and tends to be too narrow. It still separates a difference
# that every seed shows from one that depends on a single lucky run.

# %% [markdown]
# ## 6. What the table supports
#
# We call a change *clear* if its interval leaves out zero. We call a step better or worse only if MSE, MAD and the error
# *inside* the person (the part of the MAD that lies there; see section 8) are all clear and agree. A single measure can
# mislead: a faint grey haze raises the MAD but hardly the MSE, and a small hole in the body raises the error inside but
# hardly the MAD.

# %%
measures = {"mse": "MSE", "mad": "MAD", "inside": "error inside"}
compared = {metric: grid.compare(ablation, result, metric) for metric in measures}
names = [f"{labels[one.before]} → {labels[one.after]}" for one in compared["mad"]]
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained", sharey=True)
for axis, (metric, changes) in zip(axes, compared.items(), strict=True):
    for place, one in enumerate(changes):
        mean, low, high = (100 * value for value in one.change)
        axis.plot([low, high], [place, place], color=figures.BLUE, linewidth=2)
        runs = np.subtract(*(np.mean(found[row][metric], axis=1) for row in (one.after, one.before)))
        axis.plot(100 * runs, [place] * len(runs), "|", color=figures.RED, markersize=9)
        axis.plot(mean, place, "o", color=figures.BLUE)
    axis.axvline(0, color=figures.BLACK, linewidth=0.8)
    axis.set(title=measures[metric], xlabel="change × 100; left is better")
axes[0].set_yticks(range(len(names)), names)
axes[0].set_ylim(len(names) - 0.5, -0.5)
_ = figure.supxlabel("Dot and line: mean and 95 % interval. Red: each seed alone.", fontsize=9)


# %% tags=["nbval-check-output"]
def verdict(changes):
    """Better or worse if all intervals leave out zero on the same side."""
    signs = {int(np.sign(one.change.mean)) if one.change.is_clear else 0 for one in changes}
    return {(-1,): "better", (1,): "worse"}.get(tuple(signs), "undecided")


def in_words(one):
    """A change in per cent, and whether zero lies in its interval."""
    return f"{round(100 * one.change.mean / one.values[0]):+d} %{'' if one.change.is_clear else ' (?)'}"


lines = list(zip(*compared.values(), strict=True))
cells = [[name, *map(in_words, line), verdict(line)] for name, line in zip(names, lines, strict=True)]
results.markdown_table(["step", *measures.values(), "verdict"], cells)

# %% [markdown]
# "(?)" means that the interval contains zero. At this scale **no step is confirmed, and none is refuted**:
#
# - $\mathcal{L}_d$ lowers the MSE with every seed, by 16 %<!-- detail_mse --> on average. But the MAD is undecided, and the
#   error inside grows by 46 %<!-- detail_inside -->. The error moves from one place to another; section 8 shows where.
# - $\mathcal{L}_s$, the largest step of the paper, makes no clear difference in any of the three.
# - With e-ASPP, the MAD is 24 %<!-- easpp_mad --> higher; the other two are undecided. Section 10 suggests a reason.
# - Compared with ASPP, e-ASPP has a clearly higher MSE; the other two are undecided.
#
# Of 18 intervals, about one would look clear by chance even if no part had any effect (exercise 3). The paper's networks saw
# 450 times as many samples. A short run need not show what a part contributes at the end of a long one.

# %% [markdown]
# ## 7. The control
#
# > Although SPS pre-training is optional to MODNet, it plays a vital role in other trimap-free methods.
# >
# > — section "Results on AMD and PPM-100"
#
# The same network was trained in three ways. "+ e-ASPP" takes 500 steps on mattes. "+ SPS" takes 200 steps on masks first.
# "Longer" takes 700 steps on mattes.
#
# **Predict.** The table of section 6 compares "+ SPS" with each of the other two. Which comparison tells you what *masks* are
# worth? What would you have concluded from the other one alone?

# %% tags=["nbval-check-output"]
steps = {"easpp": "500 on mattes", "pretrained": "200 on masks, 500 on mattes", "longer": "700 on mattes"}
cells = []
for row, what in steps.items():
    values = [np.mean(found[row][metric]) for metric in measures if row in found]
    cells.append([labels[row], what, *(f"{value:.4f}" for value in values)])
results.markdown_table(["row", "steps", *measures.values()], cells)

# %% [markdown]
# The comparison with "longer" does, because both take 700 steps. Pre-training has a MAD that is clearly higher, by
# 37 %<!-- control_mad -->; MSE and the error inside are undecided. So 200 more steps on mattes were worth at least as much
# here as 200 on masks. Without the control we would have compared 700 steps with 500, found no clear change, and missed that
# 200 more steps on mattes end at a lower mean MAD than either (see the table).
#
# This control does not separate the *kind of label* from the *pictures*. The masks belong to 300 photographs, the mattes to
# the same photographs and to 100 drawn people. To separate the two, you need one more row; exercise 5 asks which.

# %% [markdown]
# ## 8. Where the error lies
#
# > Semantic masks predicted by MobileNetV2 may have holes in some challenging foregrounds or backgrounds.
# >
# > — section "Efficient ASPP (e-ASPP)"
#
# Each part of MODNet should help in a certain place. $\mathcal{L}_s$ is about where the person is, so there should be fewer wrong
# patches outside and fewer missing limbs inside. $\mathcal{L}_d$ looks at the
# [transition region](GLOSSARY.md#transition-region-m_d) only. e-ASPP should close holes inside. The trimap of a matte divides
# the picture into these three regions:

# %%
matter = Matter.from_pretrained(device=profile.device)
name, photograph = next(iter(portraits.portraits(profile.data).items()))
_, sample = validation.validation_data(profile.data, 2)[1]
truth, own, matte = sample.alpha / 255, matter.alpha(photograph), matter.alpha(sample.image)
own = np.where(own < 0.1, 0, own)  # drop faint haze, or the trimap covers it
trimap = methods.trimap_of(truth)
tinted = [figures.tint_trimap(photograph, methods.trimap_of(own)), figures.tint_trimap(sample.image, trimap)]
titles = [f"{name}, by the network's matte", "held out, by its true matte", "held out: error of the network"]
figures.image_row(
    [*tinted, figures.error_map(matte, truth)],
    titles,
    caption="Orange: transition region. Dark: outside. Right: red is missing, blue is too much, white is right.",
)


# %% tags=["nbval-check-output"]
def error_by_region(matte, truth, trimap):
    """The parts of the MAD: inside the person, in the transition region, outside."""
    error = np.abs(matte - truth)
    return [error[trimap == value].sum() / error.size for value in (1, 0.5, 0)]


tiny = error_by_region(np.array([[0.9, 0.5, 0.1]]), np.array([[1.0, 0.8, 0.0]]), np.array([[1.0, 0.5, 0.0]]))
print("three pixels:", np.round(tiny, 3), "sum:", round(sum(tiny), 3), "= (0.1 + 0.3 + 0.1) / 3")
parts = error_by_region(matte, truth, trimap)
library = metrics.errors_by_region(matte, truth, trimap)
np.testing.assert_allclose(parts, list(library.values()), rtol=1e-9)
np.testing.assert_allclose(sum(parts), metrics.mad(matte, truth), rtol=1e-9)

# %% [markdown]
# The three parts add up to the MAD, so they can be stacked. For the rows of the table:

# %%
regions = {"inside": figures.BLUE, "band": figures.ORANGE, "outside": "#999999"}
figure, axis = plt.subplots(figsize=(9, 2.8), layout="constrained")
left = np.zeros(len(rows))
for region, colour in regions.items():
    width = np.array([np.mean(found[row][region]) for row in rows])
    axis.barh(range(len(rows)), width, left=left, color=colour, label={"band": "transition region"}.get(region, region))
    left += width
axis.set_yticks(range(len(rows)), [labels[row] for row in rows])
axis.invert_yaxis()
axis.set(xlabel="MAD", title="Where the error lies")
_ = axis.legend(loc="upper left", bbox_to_anchor=(1, 1))

# %% tags=["nbval-check-output"]
by_region = {region: grid.compare(ablation, result, region) for region in regions}
lines = zip(names, *by_region.values(), strict=True)
results.markdown_table(
    ["step", "inside", "transition region", "outside"], [[step, *map(in_words, line)] for step, *line in lines]
)

# %% [markdown]
# One result of this grid agrees with the idea behind the part. $\mathcal{L}_d$ clearly lowers the error in the transition
# region, by 18 %<!-- detail_band -->. But it clearly raises the error inside and outside. e-ASPP should close holes, but the
# error inside does not change clearly.
#
# A picture can be chosen to fit a claim, so it comes after the numbers. This person is one of five that are recorded for
# each run.

# %%
file, gallery = paths.RESULTS / "04_ablation_study.jpg", [row for row in ablation.gallery if row in found]
if PROFILE != "smoke":
    file = RUN / "mattes.jpg"
    checkpoints = [RUN / f"{row}-{profile.seed}" / "modnet.safetensors" for row in gallery]
    portraits.draw_gallery(file, checkpoints, profile.device)

# %%
sheet = images.read_image(file)
side, person = sheet.shape[1] // (len(gallery) + 2), 3
tiles = [sheet[person * side : (person + 1) * side, k * side : (k + 1) * side] for k in range(len(gallery) + 2)]
titles = ["picture", *(labels[row] for row in gallery), "truth"]
shown = [k for k, title in enumerate(titles) if title != labels["aspp"]]
figures.image_row([tiles[k] for k in shown], [titles[k] for k in shown], caption=f"Recorded at {side} pixels a side.")

# %% [markdown]
# Look at three places. The gap between the body and the arm on the hip has its full length only in the rows with
# $\mathcal{L}_d$. The raised arm is torn with $\mathcal{L}_s$ alone and has dark patches with e-ASPP, which should close such
# holes. The frizz of the hair is missing everywhere, although the truth shows it at this size. One person proves nothing, but
# you see what the bars measure.

# %% [markdown]
# ## 9. What e-ASPP costs
#
# > Compared to the original ASPP, our proposed e-ASPP has only 1 % of the parameters and 1 % of the computational
# > overhead. […] In MODNet, our experiments show that e-ASPP can achieve performance comparable to ASPP.
# >
# > — section "Efficient ASPP (e-ASPP)"; the counting is in Appendix A
#
# Notebook [02](02_building_modnet.ipynb) derives the 1 % for the module.
#
# **Predict.** And the whole network? How many times larger is MODNet with ASPP than with e-ASPP, and how many times as many
# operations does it need?

# %% tags=["nbval-check-output"]
counted = {}
for context in ("none", "easpp", "aspp"):
    with torch.device("meta"):  # shapes without numbers: counting is free
        model, picture = MODNet(context=context).eval(), torch.empty(1, 3, 512, 512)
    counted[context] = cost.count_parameters(model), cost.count_flops(model, picture) / 1e9
cells = []
for context, row in {"none": "detail", "easpp": "easpp", "aspp": "aspp"}.items():
    values = [f"{np.mean(found[row][metric]):.4f}" for metric in ("mse", "mad") if row in found]
    cells.append([context, f"{counted[context][0]:,}", f"{counted[context][1]:.1f}", *values])
results.markdown_table(["context", "parameters", "GFLOPs at 512", "MSE, ours", "MAD, ours"], cells)

# %% tags=["nbval-check-output"]
base, light, heavy = (np.array(counted[context]) for context in ("none", "easpp", "aspp"))
for what, share in zip(("parameters", "FLOPs"), 100 * (light - base) / (heavy - base), strict=True):
    print(f"{what}: e-ASPP adds {share:.2f} % of what ASPP adds")
print(f"share of all parameters: e-ASPP {1 - base[0] / light[0]:.0%}, ASPP {1 - base[0] / heavy[0]:.0%}")

# %% [markdown]
# The count confirms the paper: about one per cent of both. With ASPP, MODNet would be 25 times as large and need
# 3.9 times as many operations. Whether the performance is "comparable" is undecided here: with e-ASPP the MSE is clearly higher, by
# 14 %<!-- aspp_mse -->, while the changes of MAD and of the error inside are not clear. Notebook
# [06](06_baselines_and_efficiency.ipynb) measures the time.
#
# The other rows cost nothing at inference. $\mathcal{L}_s$, $\mathcal{L}_d$ and pre-training exist only during training, and
# the network skips the two heads afterwards.

# %% [markdown]
# ## 10. A clear interval is not an explanation
#
# The recorded run has two parts: 400 steps at 160 pixels, because they are fast, then 100 at 256. The table shows the step
# from + $\mathcal{L}_d$ to + e-ASPP after each of them, measured at 160 and 256 pixels:

# %% tags=["nbval-check-output"]
cells = []
for name, each in {
    "after 160 pixels": results.recorded_run("04_ablation_study_160"),
    "after 256 pixels": result,
}.items():
    change, outside = (grid.compare(ablation, each, metric)[2].change for metric in ("mad", "outside"))
    cells.append([name, f"{change.mean:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}", f"{outside.mean:+.4f}"])
results.markdown_table(["", "change of MAD", "95 % interval", "of it outside"], cells)

# %% [markdown]
# The first interval, from 3 seeds and 100 pictures, lies far from zero. It says that a similar difference is likely with other
# seeds and pictures. It does not say why. Do not conclude that e-ASPP is harmful.
#
# **Predict.** S shrinks 160 pixels to a map of $5 \times 5$ cells. Which taps of e-ASPP, at distances 1, 2, 3, 5 and 7, can
# reach another cell of it?

# %% tags=["nbval-check-output"]
cells = []
for side in (5, 6, 8, 16):
    _ = torch.manual_seed(0)
    module = EfficientASPP(64)
    module(torch.rand(4, 64, side, side)).square().sum().backward()
    trained = [int((scale[0].weight.grad.abs().sum(dim=(0, 1)) > 0).sum()) for scale in module.scales]
    cells.append([f"{32 * side} pixels, {side} × {side} cells", *(f"{taps} of 9" for taps in trained)])
results.markdown_table(["taps with a gradient", *(f"rate {rate}" for rate in layers.EASPP_DILATIONS)], cells)

# %% [markdown]
# At 160 pixels, 16 of 45 taps keep their random weights. In training that does no harm, because they meet only padding. But
# the protocol keeps the proportions of a picture, and a street photograph of $160 \times 240$ pixels has a map of
# $5 \times 7$. There, some of the untrained taps meet cells and add noise. This fits the last column: almost the whole change
# lies *outside* the person. From 256 pixels on every tap is trained, and after a hundred steps at that size the change is a
# fifth of what it was.
#
# There are two lessons. Train near the size you test at. And ask *where* an error lies before you blame a part.
#
# ## Results

# %%
change = {metric: {(one.before, one.after): one for one in each} for metric, each in (compared | by_region).items()}
relative = {
    "detail_mse": ("mse", "semantic", "detail"), "detail_inside": ("inside", "semantic", "detail"),
    "detail_band": ("band", "semantic", "detail"), "easpp_mad": ("mad", "detail", "easpp"),
    "control_mad": ("mad", "longer", "pretrained"), "aspp_mse": ("mse", "aspp", "easpp"),
}  # fmt: skip
for name, (metric, *pair) in relative.items():
    one = change[metric][tuple(pair)]
    results.record(name, abs(one.change.mean / one.values[0]))
results.record("shuffled_over_paired", wider)
results.record("widest_seeds", max(np.ptp(errors[row].mean(axis=1)) for row in rows))
results.record(
    "smallest_mad_after_three_steps", min(np.mean(each["mad"]) for each in live["errors"]["natural"].values())
)
results.record("easpp_share_of_aspp_parameters", (light - base)[0] / (heavy - base)[0], paper=0.01)
results.ResultsTable("04_ablation_study", PROFILE)

# %% [markdown]
# ## What to believe, and what to use
#
# - **Believe the method.** The bootstrap agrees with the library's to 5 % of the width, and pairing narrows the interval to less
#   than a third.
# - **Believe the cost**: e-ASPP has one per cent of the parameters and operations of ASPP. That is counted, not estimated.
# - **Do not rank the parts by this grid.** After 4,000 samples per network, no step is confirmed in MSE, MAD and the error
#   inside at once. $\mathcal{L}_d$ moves errors from the outline into the person; whether that remains so in a longer run is open.
# - **Use** several seeds, paired differences, a control with equal steps, and errors by region, before you claim that a part helps.
#   `modnet grid ablation full --folder runs/ablation` repeats this study at a scale that can decide more.

# %% [markdown]
# ## Exercises
#
# Exercises 1 to 4 check themselves and tell you what is wrong with an answer. In a new cell, for example:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("04.2", interval)
# ```
#
# **1.** A friend compares two networks on 100 pictures and finds mean errors of 0.040 and 0.038. Over the pictures, each error
# has a standard deviation of 0.03, and the difference in each picture has one of 0.004. "Within one standard deviation, so no
# difference." What do you answer? (`"04.1"`: the standard error of the mean difference.)
#
# <details><summary>Answer</summary>
#
# The deviation of each error says how different the pictures are. What counts is the deviation of the *difference in each
# picture*. It is 0.004, so its mean over 100 pictures has a standard error of $0.004 / \sqrt{100} = 0.0004$, and the
# difference of 0.002 is five times that. Then ask for a second seed: this error covers other pictures, not another training run.
#
# ```python
# check_answer("04.1", 0.004 / 100**0.5)
# ```
#
# </details>
#
# **2.** Write `interval(change, seeds, pictures)` without a loop. `change` is (seeds, pictures); each row of `seeds` and of `pictures`
# holds the indices of one draw. Return both ends of the 95 % interval of the mean.
#
# <details><summary>Answer</summary>
#
# ```python
# import numpy as np
#
#
# def interval(change, seeds, pictures):
#     drawn = change[seeds[:, :, None], pictures[:, None, :]]  # (draws, seeds, pictures)
#     return np.percentile(drawn.mean(axis=(1, 2)), [2.5, 97.5])
#
#
# check_answer("04.2", interval)
# ```
#
# </details>
#
# **3.** If no part has any effect, how often does at least one of several comparisons look clear? Write `family_wise(z)`: `z` holds
# standardised differences, (experiments, comparisons); a comparison looks clear if its magnitude exceeds 1.96. Then simulate:
# `family_wise(np.random.default_rng(0).normal(size=(10_000, 6)))`.
#
# <details><summary>Answer</summary>
#
# About a quarter of all experiments, $1 - 0.95^6 = 26 \%$, if the comparisons are independent. Ours share rows, so it is somewhat less.
# Do not rely on a single clear interval that almost touches zero; use wider intervals, or more seeds.
#
# ```python
# import numpy as np
#
#
# def family_wise(z):
#     return (np.abs(z) > 1.96).any(axis=1).mean()
#
#
# check_answer("04.3", family_wise)
# ```
#
# </details>
#
# **4.** Benchmarks for methods with a trimap measure only its unknown pixels. Write `unknown_mse(matte, truth, trimap)`, the mean squared error
# over pixels whose trimap is 0.5. Why is that number so much larger than the MSE of the whole picture, and why does it say
# nothing about a missing arm?
#
# <details><summary>Answer</summary>
#
# Most pixels of a picture are easy, and this measure leaves them out. An arm that is missing as a whole lies mostly *inside*,
# where the trimap already gives the answer away, so its error does not count.
#
# ```python
# def unknown_mse(matte, truth, trimap):
#     return ((matte - truth) ** 2)[trimap == 0.5].mean()
#
#
# check_answer("04.4", unknown_mse)
# ```
#
# </details>
#
# **5.** The extra steps of "longer" also see drawn people; those of pre-training do not. Which additional row would separate
# the kind of label from the pictures?
#
# <details><summary>Answer</summary>
#
# One that spends the 200 extra steps on the *mattes of the photographs alone*. It differs from "+ SPS" in the label and from "longer" in the
# pictures. If it does as well as "longer", the kind of label made the difference; if it does no better than "+ SPS", the drawn people did.
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
