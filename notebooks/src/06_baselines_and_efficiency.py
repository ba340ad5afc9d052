# %% [markdown]
# # 06 Baselines and efficiency: is MODNet better and faster than the others, trained alike?
#
# A result is only as good as what it is compared with. The paper compares MODNet with eight methods, on accuracy
# (Tables 1, 2 and 5) and on cost (Fig. 6). The authors trained all of them themselves; none of that code is public. Here
# all of them are built again, trained again on one budget, and measured by one protocol.

# %% [markdown]
# ## You will be able to
#
# - say what each of these methods is given, what it predicts first, and what it is trained for;
# - check by hand how SHM, LFM and IndexNet put their answers together;
# - read a table of methods, and test the ordering that it claims;
# - find out in which stage of a multi-stage method the error begins;
# - tell size, [operations](GLOSSARY.md#flop), memory and time apart, and say what a figure of cost has to state.

# %% [markdown]
# ## Needs
#
# Notebooks [02](02_building_modnet.ipynb) (MODNet), [04](04_ablation_study.ipynb#5-how-sure-is-a-difference) (paired
# intervals) and [05](05_ppm100_evaluation.ipynb) (the protocol). No download and no GPU.
# Reading takes about 22 minutes. The smoke profile takes about 35 seconds on two CPU cores. The numbers to read come from
# a recorded run.

# %% tags=["parameters"]
PROFILE = "smoke"

# %%
import shutil
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from modnet_lib import paths
from modnet_lib.baselines import BASELINES, create_baseline, shm
from modnet_lib.baselines.indexnet import index_pool, index_unpool
from modnet_lib.baselines.lfm import fuse as blend
from modnet_lib.data.sets import drawn_people
from modnet_lib.evaluation.efficiency import create_method
from modnet_lib.inference import Matter
from modnet_lib.network.cost import count_flops, count_parameters
from modnet_lib.notebook.figures import image_row, show_prediction, show_source, use_style
from modnet_lib.notebook.inspector import MatteInspector
from modnet_lib.notebook.results import ResultsTable, record, recorded_run
from modnet_lib.profiles import Profile
from modnet_lib.training import grid

use_style()
comparison = grid.Grid.load("comparison")
SYSTEMS = comparison.rows
TRIMAP_FREE = [before for before, _ in comparison.compare[:7]] + ["modnet"]  # Table 1, from top to bottom
profile = Profile.load(PROFILE)
RUN = paths.RUNS / "notebooks" / "06" / PROFILE
shutil.rmtree(RUN, ignore_errors=True)  # every execution starts afresh
recorded, costs = recorded_run("06_baselines_and_efficiency"), recorded_run("efficiency")

# %% [markdown]
# ## 1. Who is compared
#
# > Existing trimap-free matting methods either (a) require auxiliary inputs to address the complex matting objective
# > directly or (b) consist of multiple stages to address the matting sub-objectives sequentially.
# >
# > — caption of Fig. 1
#
# (a) needs more than one picture: DIM and IndexNet a [trimap](GLOSSARY.md#trimap), BM a second shot without the person, CRGNN a clip with a
# trimap for every frame. (b) needs more than one network, in [stages](GLOSSARY.md#stage): FDMPA, LFM, SHM and BSHM first segment, then refine. HAtt, and
# DIM with its trimap taken away, are single networks on a single picture, like MODNet.

# %% tags=["nbval-check-output"]
for name in BASELINES:
    method = create_baseline(name)
    needs = ", ".join(("image", *method.required))
    trained = " → ".join(stage.name for stage in method.stages)
    print(f"{name:11s}{method.paper:23s}{needs:23s}{trained}")

# %% [markdown]
# > We use MobileNetV2 pre-trained on the Supervisely Person Segmentation (SPS) dataset as the backbone of all
# > trimap-free models. For the compared methods, we explore the optimal hyper-parameters through grid search.
# >
# > — section "Results on AMD and PPM-100"
#
# So these are not the networks of their own papers, which have DenseNet-201 (LFM), ResNeXt-101 (HAtt) or PSPNet-50 (SHM)
# inside. On MobileNetV2 the comparison is about the *idea* of each method. Ours are built from the papers'
# descriptions, one file each; what is simplified stands in the docstring. Two things we do not have: SPS, and the grid
# search. Masks of street photographs stand in for SPS (a † in
# the tables marks who began with them), and all methods share one set of hyper-parameters. The learning rate
# was chosen once: a first run with a third of it left BSHM untrained, and one trial was made with MODNet alone. So the
# choice may favour MODNet.

# %%
show_source(shm.SHM)

# %% [markdown]
# ## 2. One call, and what happens when something is missing
#
# All methods are called as `model(image, trimap=..., background=..., clip=...)`, with the inputs that they use, so the
# same loop trains them and the same protocol measures them. **Predict**: what should a method do that gets too little? Or too much?

# %% tags=["nbval-check-output"]
image = torch.rand(1, 3, 64, 64)
for name, given in {
    "dim_trimap": {},
    "bm": {},
    "crgnn": {"trimap": image[:, :1]},
    "hatt": {"background": image},
}.items():
    try:
        create_baseline(name)(image, **given)
    except ValueError as error:
        print(str(error).replace(": pass", ":\n    pass"))

# %% [markdown]
# ## 3. Three ways to put answers together
#
# **SHM.** T-Net answers three probabilities a pixel: background $B_s$, unknown $U_s$, foreground $F_s$. M-Net answers
# $\alpha_r$. The matte is $\alpha = F_s + U_s\,\alpha_r$. **Predict**: T-Net says (0.1, 0.6, 0.3), M-Net says 0.5. What
# is $\alpha$? And if T-Net is sure of the foreground, (0, 0, 1), but wrong: what can M-Net do?
#
# **LFM.** One decoder says how surely a pixel is foreground ($F$), one how surely it is background ($B$), and
# $\alpha = \beta F + (1 - \beta)(1 - B)$. **Predict**: when does $\beta$ not matter?

# %% tags=["nbval-check-output"]
classes = torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.0, 1.0]]).reshape(2, 3, 1, 1)
for answer in (0.5, 0.0):
    alpha = shm.fuse(classes, torch.full((2, 1, 1, 1), answer)).flatten()
    print("SHM, M-Net says", answer, "→ alpha", [round(value, 2) for value in alpha.tolist()])
foreground, background = torch.tensor([0.7, 0.7]), torch.tensor([0.3, 0.6])  # they agree; they do not
for beta in (0.0, 1.0):
    alpha = blend(foreground, background, torch.tensor(beta))
    print("LFM, beta", beta, "→ alpha", [round(value, 2) for value in alpha.tolist()])

# %% [markdown]
# $0.3 + 0.6 \cdot 0.5 = 0.6$. In the second case M-Net can do nothing: the error of the first stage is final. That is
# the paper's argument against stages, and section 7 measures it. $\beta$ does not matter where $F + B = 1$.
#
# **IndexNet** replaces max-pooling. Pooling forgets *which* of four pixels was the largest; a border needs exactly that.
# IndexNet computes four weights for each 2 × 2 block, pools with them, and spreads with their twins. Max-pooling is the
# special case of weights 0 and 1:

# %% tags=["nbval-check-output"]
block = torch.tensor([[1.0, 5.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
hard = (block == block.max()).float()
soft = torch.softmax(block.flatten(), 0).reshape(1, 1, 2, 2)
for name, weights in {"hard": hard, "soft": soft}.items():
    pooled = index_pool(block, weights)
    spread = index_unpool(pooled, weights).flatten().tolist()
    print(f"{name}: pooled {pooled.item():.2f}, spread again {[round(value, 2) for value in spread]}")

# %% [markdown]
# ## 4. Train them alike
#
# > For a fair comparison, we train all models on the same dataset, which contains nearly 3,000 annotated foregrounds.
# >
# > — section "Results on AMD and PPM-100"
#
# `modnet grid comparison PROFILE --folder F` trains every row of Tables 1, 2 and 5 with every seed. With one seed, all methods
# start from the same pre-trained backbone and see the same samples in the same order; each has its own losses and
# stages, and a multi-stage method shares the steps among its stages. Here are four of them after three steps.
# **Predict**: which of DIM with a trimap, HAtt, SHM and MODNet is ahead so early?

# %%
some = ["dim_trimap", "hatt", "shm", "modnet"] if PROFILE == "smoke" else list(SYSTEMS)
small = replace(profile, seeds=1) if PROFILE == "smoke" else profile
live = grid.run_grid(comparison, small, RUN, rows=some)

# %% tags=["nbval-check-output"]
for key in some[:4]:
    chosen = grid.recipe(comparison, profile, key, 1)
    print(f"{SYSTEMS[key].label:12s} {chosen.training.steps} steps, seed {chosen.seed}", end="; ")
    print("MAD below 0.2:", live["values"][f"natural_mad_{key}"] < 0.2)

# %% [markdown]
# The trimap alone is worth more than all training so far: where it is certain, DIM keeps it, and what is left to guess is
# a band. The rest of this notebook reads a recorded run. Its recipe is
# `data/results/06_baselines_and_efficiency.yaml`.

# %%
print(recorded["provenance"])

# %% [markdown]
# ## 5. Tables 1, 2 and 5, whole
#
# The paper's columns are PPM-100, AMD and D646. Ours are other pictures, measured the same way: the paper's and our
# columns must not be compared with each other, only their *order*.
#
# | paper | ours |
# |---|---|
# | Table 1: PPM-100, photographs | validation photographs of Clothing-Co-Parsing, pseudo-mattes |
# | Table 2: AMD portraits × 10 backgrounds | the same people before other scenes |
# | Table 5: D646 × 10 backgrounds | SPM-100, drawn people, exact mattes |


# %%
def table(name, digits=4):
    """One of the tables: the paper's columns, then ours."""
    print(
        f"{comparison.sets[name]}\n{'':22s}{'paper MSE':>10s}{'MAD':>8s}{'   ours MSE':>12s}{'MAD':>8s}   MAD of each seed"
    )
    for key, one in recorded["errors"][name].items():
        paper = "".join(f"{v:.4f}".rjust(w) for v, w in zip(SYSTEMS[key].paper.get(name, ()), (10, 8), strict=False))
        mse, mad = (float(np.mean(one[metric])) for metric in ("mse", "mad"))
        seeds = " ".join(f"{np.mean(run):.3f}" for run in one["mad"])
        print(f"{SYSTEMS[key].label:22s}{paper:18s}{mse:12.{digits}f}{mad:8.{digits}f}   {seeds}")


table("natural")

# %%
table("composed")

# %%
table("drawn")

# %% [markdown]
# Three things to notice before any ranking.
#
# - **How short this was.** A hundred steps of four pictures are 400 samples; the paper's training sees 1.8 million. This
#   is a table of who learns fast, not of who is best in the end.
# - **MSE and MAD disagree.** LFM and SHM leave a grey haze of several per cent over the whole background. A haze is cheap
#   in MSE and dear in MAD. DIM, trained by an absolute error alone, answers a clean 0 there.
# - **A trimap decides most.** Where it is certain, these methods are right by construction: MODNet with a trimap has a third of
#   the error of MODNet without one.
#
# The last rows of each table, without a †, are the same methods from a backbone that has not seen the masks. The paper shows only
# DIM that way.
#
# ## 6. Is the order the paper's?
#
# Table 1 claims an order: from the first trimap-free row to the last, the error falls with every row. Each step is a
# claim, and each is tested here on the same pictures and seeds: the difference in every picture, and the interval that
# covers other pictures and other seeds ([04 §5](04_ablation_study.ipynb#5-how-sure-is-a-difference)).

# %%
tests = {metric: grid.compare(comparison, recorded, metric) for metric in ("mse", "mad")}
figure, axes = plt.subplots(1, 2, figsize=(10, 0.27 * len(tests["mad"]) + 0.7), layout="constrained", sharey=True)
for axis, (metric, ones) in zip(axes, tests.items(), strict=True):
    for place, one in enumerate(ones):
        mean, low, high = (100 * value for value in one.change)
        colour = "#0072B2" if one.change.is_clear else "#999999"
        axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=3)
    axis.axvline(0, color="grey", linewidth=1)
    axis.set(title=metric.upper(), xlabel="change × 100; left of zero is as claimed")
names = [f"{SYSTEMS[one.before].label} → {SYSTEMS[one.after].label}" for one in tests["mad"]]
axes[0].set_yticks(range(len(names)), names)
axes[0].invert_yaxis()
_ = figure.supxlabel("Natural photographs. Bars: 95 % intervals; grey ones contain zero.", fontsize=9)

# %% tags=["nbval-check-output"]
for metric, ones in tests.items():
    for one, name in zip(ones, names, strict=True):
        mean, low, high = one.change
        verdict = "not clear" if not one.change.is_clear else "as claimed" if mean < 0 else "reversed"
        print(f"{metric.upper()}  {name:34s} {mean:+.4f}  [{low:+.4f}, {high:+.4f}]  {verdict}")

# %% tags=["nbval-check-output"]
for name in comparison.sets:
    for metric in tests:
        ones = [one.change for one in grid.compare(comparison, recorded, metric, name) if one.after in TRIMAP_FREE]
        verdicts = [("undecided", "as claimed", "reversed")[c.is_clear * (1 + (c.mean > 0))] for c in ones]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("as claimed", "reversed", "undecided"))
        print(f"{name:9s}{metric.upper()}  {counts}")

# %% [markdown]
# What stands, at this scale, and what does not:
#
# - **MODNet has the lowest squared error** of the trimap-free methods that began with masks, on all three sets. On photographs it
#   is clearly below each of the six others; on composites and on drawn people DIM, LFM and SHM cannot be told from it.
# - **In absolute error DIM is clearly ahead of MODNet.** The gallery below shows why that is a poor reason to prefer it:
#   its mattes are clean and crude.
# - **The order in between is not the paper's.** BSHM, the best of the others in Table 1, is among the last here: it
#   divides the steps among three networks. DIM, the last of Table 1 after pre-training, is among the first.
# - **MODNet with a trimap beats IndexNet, but not DIM.** IndexNet has the most new weights of all, and needs longer.
# - **Pre-training on masks earns nothing that can be seen.** Of fourteen comparisons (seven methods, two metrics) on photographs
#   eleven are unclear, one speaks for it and two against, all of them small; HAtt's squared error is larger with it on all three sets. In the
#   paper it halves DIM's error. But ours is sixty steps, and every backbone here has seen ImageNet before: what masks could add
#   is *what a person is*, and sixty steps do not teach that.
#
# None of this refutes the paper. `modnet grid comparison full --folder runs/baselines` asks the same with forty times the samples
# at 256 pixels. And few seeds make rough intervals: take the clear ones near zero with care.
#
# ## 7. Where do the errors of a multi-stage method begin?
#
# > […] having multiple stages would significantly increase the inference time.
# >
# > — section "Introduction"
#
# Time is one cost; the other is that a later stage gets what an earlier one left. Every stage's estimate can be measured
# as a matte. And for three methods the first stage can be replaced by the truth: if the last stage then does well, the
# first was to blame.

# %%
print(f"{'MAD':9s}{'after each stage':50s}last stage, first one true")
for key in (key for key in TRIMAP_FREE if key in recorded["stages"] and key != "dim_plain"):
    one = recorded["stages"][key]
    means = {name: float(np.mean(runs)) for name, runs in one.items()}
    true = means.pop("true first stage", None)
    chain = " → ".join(f"{name} {value:.4f}" for name, value in means.items())
    print(f"{SYSTEMS[key].label:9s}{chain:50s}" + (f"{true:.4f}" if true is not None else "–"))

# %% [markdown]
# Read the rows one by one. **SHM**: with the true trimap M-Net's error falls to a quarter, so most of it was T-Net's.
# **FDMPA**: a right segmentation helps, but a good part of the error stays: eight channels cannot turn a blob into a matte
# in forty steps. **BSHM**: a right first mask changes little. Here the blame is on what comes after: QUN makes the mask worse, and MRN has to
# repair it. **DIM** and **LFM**: the second stage improves on the first, a little.
#
# So the paper's argument holds for SHM, whose first answer is final. It does not hold for every multi-stage method: in BSHM the
# first stage is not the weak one. What all of them share is that the steps have to be divided.
#
# ## 8. With a trimap and without, on natural pictures and on composites
#
# > However, it is unable to outperform trimap-based methods, as PPM-100 contains samples with very challenging poses and
# > costumes.
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict**: a trimap says where the person is. Which of the three regions of a picture does it improve?

# %%
parts = {"inside": "#0072B2", "band": "#E69F00", "outside": "#999999"}
pairs = [("dim_plain", "dim_trimap"), ("modnet", "modnet_trimap")]
figure, axes = plt.subplots(1, 2, figsize=(9, 2.2), layout="constrained", sharey=True, sharex=True)
for axis, name in zip(axes, ("natural", "composed"), strict=True):
    shown = [key for pair in pairs for key in pair]
    left = np.zeros(len(shown))
    for part, colour in parts.items():
        width = np.array([100 * recorded["values"][f"{name}_{part}_{key}"] for key in shown])
        axis.barh(range(len(shown)), width, left=left, color=colour, label=part)
        left += width
    axis.set(title=name, xlabel="MAD × 100")
axes[0].set_yticks(range(len(shown)), [SYSTEMS[key].label for key in shown])
axes[0].invert_yaxis()
_ = axes[1].legend(fontsize=8)

# %% tags=["nbval-check-output"]
for name in ("natural", "composed", "drawn"):
    for plain, given in pairs:
        factor = recorded["values"][f"{name}_mad_{plain}"] / recorded["values"][f"{name}_mad_{given}"]
        print(f"{name:9s}{SYSTEMS[plain].label:9s} without a trimap: MAD {factor:.1f} times as large")

# %% [markdown]
# A trimap removes the errors *inside* and *outside* completely, and the band is all that is left. That is the paper's remark
# about poses and costumes, seen from the other side: what trimap-free methods lack is semantics. On composites MODNet's
# grey haze outside grows by seven tenths: a person cut out and pasted is not what half of its training showed it, and a scene that
# does not belong to the person misleads a network that has to find one. A trimap does not care about the scene.
#
# ## 9. Fig. 5 and 8, on drawn people
#
# The first five of the validation seeds, not the nicest. Columns in the order of Fig. 8.

# %%
gallery = np.asarray(Image.open(paths.RESULTS / "06_baselines_and_efficiency.jpg"))
width, _ = grid.TILE
shown = ["photograph", *(SYSTEMS[key].label for key in comparison.gallery), "truth"]
columns = [gallery[:, i * width : (i + 1) * width] for i in range(len(shown))]
image_row(columns, shown, caption="Look for whole bodies first, then for borders.", height=6)

# %% [markdown]
# Numbers did not show this: MODNet is the only one that follows a body's outline, the hand at a head and the gap beside
# long hair; it pays with holes at the top of the hair and a faint third person. DIM answers a smooth silhouette. LFM and SHM show
# the haze that cost them their MAD, HAtt the coarseness of a matte that is made at 1/4 and enlarged. BSHM has a dark ring inside
# the border, where MRN meets QUN's mask. The third person, small and striped, loses the legs to LFM and SHM, and HAtt leaves a hole.
#
# ## 10. Fig. 6: what it costs
#
# > We measure the model size by the total number of parameters, and we reflect the execution efficiency by the average
# > inference time over PPM-100 on an NVIDIA GTX 1080Ti GPU (all input images are resized to 512×512). Note that fewer
# > parameters do not imply faster inference speed due to large feature maps […].
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict.** SHM's M-Net has 243,633 parameters, T-Net eleven times as many. Which takes longer? (M-Net works at full
# size, T-Net mostly at 1/16 and 1/32.)

# %% tags=["nbval-check-output"]
image, network = torch.rand(1, 3, 256, 256), create_method("shm")
print(f"MODNet {count_flops(create_method('modnet'), image) / 1e9:.2f} GFLOPs at 256 x 256", end=", ")
print(f"SHM {count_flops(network, image) / 1e9:.2f}")
for part, names in network.modules_of.items():
    print(part, f"{sum(count_parameters(network.get_submodule(name)) for name in names):,} parameters")
stated = {"dim": 130.55, "indexnet": 8.15}  # millions, stated by IndexNet's authors
for name, millions in stated.items():
    ours = count_parameters(create_method(f"{name}_trimap" if name == "dim" else name)) / 1e6
    print(f"{name}: its paper's network has {millions} million parameters, ours on MobileNetV2 {ours:.2f}")

# %%
print(costs["provenance"])
labels = {
    "modnet": "MODNet",
    "modnet_trimap": "MODNet, trimap",
    **{name: create_baseline(name).title + ", trimap" * name.endswith("_trimap") for name in BASELINES},
}
figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
drawn = sorted((costs["methods"][name]["parameters"], name) for name in labels if "trimap" not in labels[name])
for number, (parameters, name) in enumerate(drawn):
    cost = costs["methods"][name]
    x, y, colour = cost["milliseconds"], parameters / 1e6, "#E69F00" if name == "modnet" else "#0072B2"
    axis.scatter(x, y, s=4 * cost["gflops"], color=colour, alpha=0.6)
    offset = (0, -16 if number % 2 else 9)
    axis.annotate(labels[name], (x, y), offset, textcoords="offset points", ha="center", fontsize=8)
axis.margins(0.2)
axis.set(xscale="log", yscale="log", xlabel="milliseconds a picture", ylabel="million parameters")
axis.set_xticks([250, 500, 1000, 2000, 4000], minor=False)
axis.set_yticks([2, 3, 4, 5, 6], minor=False)
for side in (axis.xaxis, axis.yaxis):
    side.set_major_formatter("{x:g}")
    side.set_minor_formatter("")

# %%
print(f"{'':20s}{'parameters':>12s}{'GFLOPs':>9s}{'MiB':>7s}{'ms':>8s}")
for name, cost in sorted(costs["methods"].items(), key=lambda pair: pair[1]["milliseconds"]):
    values = f"{cost['gflops']:9.1f}{cost['megabytes']:7.0f}{cost['milliseconds']:8.0f}"
    print(f"{labels[name]:20s}{cost['parameters']:12,}{values}")
    for part, one in cost["parts"].items():
        print(f"  {part:18s}{one['parameters']:12,}{one['gflops']:9.1f}{'':7s}{one['milliseconds']:8.0f}")

# %% [markdown]
# **M-Net, with a twelfth of T-Net's parameters, has twice its operations.** That is the paper's remark in one line.
#
# What the paper claims, and what we find on a CPU:
#
# - *"MODNet has the smallest number of parameters among the trimap-free methods."* Not here. On the same backbone, the
#   others are smaller: a decoder can be as slim as one likes, and ours are slim. MODNet's e-ASPP and its 1280 channels cost
#   0.8 million.
# - *Multi-stage methods are slower.* Mostly: SHM, LFM, BM and DIM take 1.2 to 1.9 times as long as MODNet, BSHM as long. The
#   table says which stage takes the time: BSHM's whole backbone, at half size, costs a ninth of it; what runs at full size
#   costs the rest.
# - *Twice the fps of the fastest other method, FDMPA.* Not here: FDMPA and HAtt, which work at 1/4, take less time than
#   MODNet. The paper's FDMPA is another network than ours, and its time another device's.
# - *A trimap costs nothing*, and IndexNet, whose first index block works at full size, costs most.
#
# A figure of cost has to say: device, threads, number format, batch, size, what is counted, how often it was measured. On a
# GPU the picture may change; that run waits (`benchmarks/GPU_TODO.md`).
#
# ## 11. Look yourself
#
# The shipped MODNet, trained for hours, on a drawn person. `modnet train laptop --baseline shm --folder runs/shm` trains
# another method; `Matter.from_pretrained("runs/shm/modnet.safetensors")` then cuts pictures out with it.

# %%
portrait = drawn_people(6, "validation").readers[5]()
picture, exact = portrait.image, portrait.alpha / 255
matter = Matter.from_pretrained(device=profile.device)
show_prediction(matter.predict(picture))

# %%
MatteInspector(matter, {"drawn": picture}, truths={"drawn": exact})

# %% [markdown]
# ## Results

# %%
for key in some[:4]:
    paper = SYSTEMS[key].paper["natural"]
    record(f"natural_mse_{key}", live["values"][f"natural_mse_{key}"], paper=paper[0])
    record(f"natural_mad_{key}", live["values"][f"natural_mad_{key}"], paper=paper[1])
ResultsTable("06_baselines_and_efficiency", PROFILE)

# %% [markdown]
# ## Summary
#
# - Nine methods, one backbone, one call, one loop, one protocol. What differs is the idea.
# - On 400 samples MODNet has the lowest squared error on photographs among the trimap-free methods; of the paper's other
#   steps some are confirmed, some reversed. Pre-training on masks made no visible difference.
# - MSE and MAD can name different winners: one forgives haze, the other does not. Look at the mattes.
# - SHM's errors begin in its first stage, BSHM's do not. Replacing a stage by the truth tells which.
# - Parameters, operations, memory and time are four different costs; full-size layers decide the last three.
#
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("06.1", ...)
# ```
#
# **1.** T-Net of SHM calls 1 % of all pixels foreground, wrongly and surely. What is the smallest MAD that M-Net can reach?
# (`"06.1"`)
#
# <details><summary>Answer</summary>
#
# 0.01. Where $U_s = 0$, $\alpha = F_s$, whatever M-Net says. End-to-end training helps because T-Net can learn to be
# unsure: an unknown pixel can still be repaired.
#
# ```python
# check_answer("06.1", 0.01)
# ```
#
# </details>
#
# **2.** A method has half the parameters of another and takes twice its time. How is that possible?
#
# <details><summary>Answer</summary>
#
# A convolution's weights are used at every pixel: parameters × pixels is what costs time. A small network at full size
# does more than a large one at 1/32. M-Net has a twelfth of T-Net's parameters and twice its operations.
#
# </details>
#
# **3.** Everybody got the same 100 steps and the same learning rate. Who is treated unfairly, and in which direction?
#
# <details><summary>Answer</summary>
#
# Methods of several stages divide the steps: each of BSHM's networks sees a part of them only. Methods that need another
# learning rate have nobody who searches it for them; the paper did a grid search for the others. And MODNet's
# shape, loss weights and augmentation were in this project long before the others were built: whoever has been looked at
# longest has an advantage. A fair budget is one for *tuning and* training.
#
# </details>

# %% [markdown]
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022. Tables 1, 2 and 5, Fig. 5, 6 and 8, Appendices B to D.
# - N. Xu et al. *Deep Image Matting.* CVPR 2017. DIM.
# - H. Lu et al. *Indices Matter: Learning to Index for Deep Image Matting.* ICCV 2019. IndexNet.
# - B. Zhu et al. *Fast Deep Matting for Portrait Animation on Mobile Phone.* ACM MM 2017. FDMPA.
# - Y. Zhang et al. *A Late Fusion CNN for Digital Matting.* CVPR 2019. LFM.
# - Q. Chen et al. *Semantic Human Matting.* ACM MM 2018. SHM.
# - Y. Qiao et al. *Attention-Guided Hierarchical Structure Aggregation for Image Matting.* CVPR 2020. HAtt.
# - J. Liu et al. *Boosting Semantic Human Matting with Coarse Annotations.* CVPR 2020. BSHM.
# - S. Sengupta et al. *Background Matting: The World is Your Green Screen.* CVPR 2020. BM.
# - T. Wang et al. *Video Matting via Consistency-Regularized Graph Neural Networks.* ICCV 2021. CRGNN.
#
# **Next:** [07 SOC domain adaptation](07_soc_domain_adaptation.ipynb): can a network correct itself without labels?
