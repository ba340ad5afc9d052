# %% [markdown]
# # 06 Baselines and efficiency: is MODNet better and faster than the others, trained alike?
#
# The paper compares MODNet with nine methods, and none of the code for that comparison is public. In this notebook you
# build the ideas of two of them, see how the methods of Tables 1, 2 and 5 are trained on one budget, and measure what
# all nine cost.

# %% [markdown]
# ## You will be able to
#
# - say what each of these methods is given, what it predicts first, and what it is trained for;
# - write SHM's fusion and IndexNet's pooling, and say which problem each of them solves;
# - explain why a later [stage](GLOSSARY.md#stage) cannot repair a confident mistake of an earlier one;
# - say how large a run must be before it can tell methods apart;
# - tell parameters, [operations](GLOSSARY.md#flop), memory and time apart, and say what must accompany a measured
#   time.
#
# ## Contents
#
# 1. [Who is compared](#1.-Who-is-compared)
# 2. [SHM in four lines](#2.-SHM-in-four-lines)
# 3. [What a first stage takes away](#3.-What-a-first-stage-takes-away)
# 4. [IndexNet in fifteen lines](#4.-IndexNet-in-fifteen-lines)
# 5. [Tables 1, 2 and 5](#5.-Tables-1,-2-and-5)
# 6. [Fig. 6: what a method costs](#6.-Fig.-6:-what-a-method-costs)
#
# ## Needs
#
# Notebooks [02](02_building_modnet.ipynb) (MODNet), [04](04_ablation_study.ipynb) (paired intervals) and
# [05](05_ppm100_evaluation.ipynb) (the protocol). Nothing is downloaded, and no GPU is needed.
#
# Reading takes about 26 minutes. The smoke profile takes about 25 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import shutil
import time

import matplotlib.pyplot as plt
import torch

from modnet_lib import Matter, baselines, images, paths, profiles
from modnet_lib.data import readers
from modnet_lib.evaluation import efficiency, methods
from modnet_lib.network import cost
from modnet_lib.notebook import figures, portraits, results
from modnet_lib.training import grid

# %%
figures.use_style()
profile, few, nn, F = profiles.Profile.load(PROFILE), PROFILE == "smoke", torch.nn, torch.nn.functional
matter = Matter.from_pretrained(device=profile.device)
photographs = portraits.portraits(profile.data)
comparison = grid.Grid.load("comparison")

# %% [markdown]
# ## 1. Who is compared
#
# > Existing trimap-free matting methods either (a) require auxiliary inputs to address the complex matting objective
# > directly or (b) consist of multiple stages to address the matting sub-objectives sequentially.
# >
# > — caption of Fig. 1
#
# (a) needs more than one picture: a [trimap](GLOSSARY.md#trimap), a second shot without the person, or neighbouring
# frames. (b) needs more than one network: the first finds the person, the last draws the border. Here is an example of
# each for one photograph, both made with our own network.

# %%
photograph = next(iter(photographs.values()))
trimap = methods.trimap_of(matter.alpha(photograph).round())
figures.image_row(
    [photograph, figures.tint_trimap(photograph, trimap), matter.predict(photograph).semantic],
    ["all that MODNet is given", "(a) a trimap: orange is unknown", "(b) a first stage's coarse answer"],
)

# %% tags=["nbval-check-output"]
rows = []
for key in baselines.BASELINES:
    method = baselines.create_baseline(key)
    rows.append([f"{method.title}: {method.paper}", " + ".join(("image", *method.required))])
    rows[-1].append(" → ".join(stage.name for stage in method.stages))
print(f"{len(rows)} networks of {len({row[0] for row in rows})} methods")
results.markdown_table(["", "is given", "is trained in stages"], rows)

# %% [markdown]
# DIM appears twice, with its trimap and without. HAtt, IndexNet and CRGNN are trained in a single stage, like MODNet.
# The others train one network after another: FDMPA, LFM, SHM, BSHM and BM first segment the person and then draw the
# border; DIM's second network refines the matte of its first.
#
# > We use MobileNetV2 pre-trained on the Supervisely Person Segmentation (SPS) dataset as the backbone of all
# > trimap-free models. For the compared methods, we explore the optimal hyper-parameters through grid search.
# >
# > — section "Results on AMD and PPM-100"
#
# So these are not the networks of their own papers, which contain DenseNet-201 (LFM), ResNeXt-101 (HAtt) or PSPNet-50
# (SHM). On one backbone, the comparison is about the *idea* of each method. Ours are built from the papers'
# descriptions, one file each in `modnet_lib/baselines`; each file says what it simplifies. We have neither SPS nor
# the grid search: other masks of people replace SPS, and all methods share one set of hyper-parameters.
#
# ## 2. SHM in four lines
#
# SHM is the clearest multi-stage method. **T-Net** sees the picture and gives three probabilities for each pixel:
# background $B_s$, unknown $U_s$, foreground $F_s$. **M-Net** sees the picture and those three, and answers
# $\alpha_r$. The two are fused:
#
# $$\alpha = F_s + U_s\,\alpha_r$$
#
# At three pixels M-Net answers 0.5. **Predict** $\alpha$ where T-Net says (0.1, 0.6, 0.3); where it is sure of the
# foreground, (0, 0, 1); and where it is sure of the background, (1, 0, 0). And how much does $\alpha$ change if
# M-Net's answer does?


# %%
def shm_fusion(classes, raw):
    """(N, 3, H, W) probabilities B, U, F and (N, 1, H, W) alpha_r to alpha."""
    return classes[:, 2:] + classes[:, 1:2] * raw


# %% tags=["nbval-check-output"]
classes = torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).T.reshape(1, 3, 1, 3)
raw = torch.full((1, 1, 1, 3), 0.5, requires_grad=True)
alpha = shm_fusion(classes, raw)
(slope,) = torch.autograd.grad(alpha.sum(), raw)
for one, value, change in zip(classes[0, :, 0].T.tolist(), alpha.flatten(), slope.flatten(), strict=True):
    print(f"B, U, F = {one[0]:.1f}, {one[1]:.1f}, {one[2]:.1f}: alpha {value:.2f}, change with alpha_r {change:.2f}")

# %% [markdown]
# $0.3 + 0.6 \cdot 0.5 = 0.6$. Where T-Net is sure, $\alpha$ does not depend on M-Net at all: the derivative is
# $U_s = 0$. Nor does training help there, because no gradient reaches M-Net through such a pixel.
#
# That is nearly the whole method. With the library's two networks, its forward pass is four lines:


# %%
def shm_by_hand(network, image):
    """Semantic Human Matting: a trimap first, then a matte, then both."""
    x = image * 2 - 1
    classes = network.t_head(network.t_net(network.backbone(x), x)).softmax(dim=1)
    raw = network.m_net(torch.cat((x, classes), dim=1)).sigmoid()
    return shm_fusion(classes, raw)


# %%
torch.manual_seed(0)
built, image = baselines.create_baseline("shm").eval(), torch.rand(2, 3, 64, 64)
with torch.inference_mode():
    ours, theirs = shm_by_hand(built, image), built(image).alpha
torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
print(f"{tuple(ours.shape)}: largest difference from the library {(ours - theirs).abs().max():.0e} of 1e-06 allowed")

# %% [markdown]
# ## 3. What a first stage takes away
#
# > […] having multiple stages would significantly increase the inference time.
# >
# > — section "Introduction"
#
# Time is one cost of stages. The other you have just computed: a confident first answer is final. You can watch it on
# the photograph. As T-Net, we take our own network at a short side of 384 pixels: values below 0.1 or above 0.9 count
# as sure. As M-Net, we take the same network at 512 pixels. At 512 the cap is complete, but parts of the flag are
# taken for the person. **Predict**: is the cap complete in the fused matte? Is the flag in it?

# %%
coarse, fine = matter.resized(384).alpha(photograph), matter.resized(512).alpha(photograph)
first = torch.from_numpy(coarse)
sure = torch.stack((first < 0.1, (first >= 0.1) & (first <= 0.9), first > 0.9))[None].float()
fused = shm_fusion(sure, torch.from_numpy(fine)[None, None])[0, 0]
out_of_reach = (first < 0.1) & (torch.from_numpy(fine) > 0.9)
results.record("out_of_reach", out_of_reach.float().mean())

# %%
trimap = sure[0, 2] + 0.5 * sure[0, 1]
place = figures.finest(coarse, 200)
wide = [figures.tint_trimap(photograph, trimap), fine, fused.numpy()]
figures.image_row(
    wide + [one[place] for one in wide],
    ["first stage: orange is unknown", "second stage alone", "both, fused", "", "", ""],
    columns=3,
)

# %% [markdown]
# Neither. Most of the flag is gone, because the first stage was sure that it is background, and was right. The cap has
# holes where the first stage was just as sure, and wrong. On 1.4 %<!-- out_of_reach --> of all pixels the second stage
# says more than 0.9, and the fused matte is 0.
#
# So the first stage removes what a later stage would get wrong, and also what that stage would get right.
# MODNet's three branches are trained together and pass features on, not decisions. Whether that is *better* is a
# question for experiments (section 5).
#
# ## 4. IndexNet in fifteen lines
#
# IndexNet asks another question: what does a network forget when it shrinks its maps? Max pooling keeps the largest
# of four values, but not *where* it was, and a sharp border depends on that. DIM therefore remembers the place of each
# maximum and puts the value back there (*unpooling*). IndexNet generalises both steps: four *indices* for every 2 × 2
# block say how much each pixel counts when pooling, and how much of the value each gets back.


# %%
def gather(x, indices):
    """Pool: the sum of every 2 x 2 block, weighted by its indices."""
    return 4 * F.avg_pool2d(x * indices, 2)


def scatter(x, indices):
    """Unpool: every pixel becomes 2 x 2 pixels, weighted by their indices."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest") * indices


# %% tags=["nbval-check-output"]
block = torch.tensor([[1.0, 5.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
largest = (block == block.max()).float()
for kind, indices in {"0 or 1, as max pooling": largest, "shares of the largest": block / block.max()}.items():
    back = scatter(gather(block, largest), indices).flatten()
    print(f"pooled {gather(block, largest).item():.0f}, back with {kind:22s}", [round(one, 2) for one in back.tolist()])
values, places = F.max_pool2d(block, 2, return_indices=True)
torch.testing.assert_close(scatter(values, largest), F.max_unpool2d(values, places, 2), atol=0, rtol=0)
torch.testing.assert_close(gather(block, largest), baselines.indexnet.index_pool(block, largest), atol=0, rtol=0)
torch.testing.assert_close(scatter(values, largest), baselines.indexnet.index_unpool(values, largest), atol=0, rtol=0)

# %% [markdown]
# The indices 0 and 1 are PyTorch's max pooling and unpooling, bit for bit, and both functions equal the library's.
#
# What difference does it make to hair? We max-pool a matte to a quarter of its width and height, and enlarge it again
# in three ways: bilinearly, by max unpooling, and with the right indices. The person is drawn, so every strand of the
# truth is exact. **Predict**: how many of 16 pixels does max unpooling fill? And how large is the error that remains
# with the right indices?

# %%
drawn = readers.benchmark("samples")["spm_003"]()
place = figures.finest(drawn.alpha, 128)
hair = torch.from_numpy(drawn.alpha[place] / 255).float()[None, None]
half, quarter = F.max_pool2d(hair, 2), F.max_pool2d(hair, 4)
enlarged = F.interpolate(quarter, scale_factor=4.0, mode="bilinear", align_corners=False)
unpooled = F.max_unpool2d(*F.max_pool2d(hair, 4, return_indices=True), 4)
shares = [x / F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0).clamp(min=1e-6) for x in (half, hair)]
indexed = scatter(scatter(quarter, shares[0]), shares[1])

# %%
ways = {"bilinear": enlarged, "max unpooling": unpooled, "indices": indexed}
errors = {name: float((one - hair).abs().mean()) for name, one in ways.items()}
results.record("hair_bilinear", errors["bilinear"])
titles = ["the truth", *(f"{name}: MAD {error:.3f}" for name, error in errors.items())]
figures.image_row([hair, *ways.values()], titles, columns=2, height=5)

# %% [markdown]
# Max unpooling gives one pixel of 16 its value back and leaves the rest black; a decoder must fill them in. Bilinear
# enlargement is smooth and has lost the strands (MAD 0.053<!-- hair_bilinear -->). With the right indices nothing is
# lost: the small matte and the indices together determine the large one.
#
# These indices were computed from the truth, and there are more of them than pixels. IndexNet has to *predict* them
# from its features. Its block is short: four small branches, one for each place of a 2 × 2 block. A sigmoid of their
# outputs makes the indices for unpooling; a softmax of those four makes the indices for pooling.


# %%
def index_branch(c):
    return nn.Sequential(
        nn.Conv2d(c, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU6(), nn.Conv2d(c, c, 1, bias=False)
    )


class LearntIndices(nn.Module):
    """Indices of every 2 x 2 block of (N, C, H, W), for pooling and for unpooling."""

    def __init__(self, channels):
        super().__init__()
        self.branches = nn.ModuleList(index_branch(channels) for _ in range(4))

    def forward(self, x):
        unpool = torch.stack([branch(x) for branch in self.branches], dim=2).sigmoid()
        return [F.pixel_shuffle(one.flatten(1, 2), 2) for one in (unpool.softmax(dim=2), unpool)]


# %% tags=["nbval-check-output"]
torch.manual_seed(0)
theirs, features = baselines.indexnet.IndexBlock(8), torch.rand(2, 8, 16, 16)
ours = LearntIndices(8)
ours.load_state_dict(theirs.state_dict())
for name, own, library in zip(("pooling", "unpooling"), ours(features), theirs(features), strict=True):
    torch.testing.assert_close(own, library, atol=0, rtol=0)
    total = 4 * F.avg_pool2d(own, 2)
    print(f"{name:9s} {tuple(own.shape)}, equal to the library; sum of a block: {total.min():.2f} to {total.max():.2f}")

# %% [markdown]
# The pooling indices of a block add up to 1, so pooling is a weighted mean. The unpooling indices are free, each
# between 0 and 1. The price: the first of these blocks works at full size, where other networks take a convolution
# with stride 2. Section 6 shows what that costs.
#
# ## 5. Tables 1, 2 and 5
#
# > For a fair comparison, we train all models on the same dataset, which contains nearly 3,000 annotated foregrounds.
# >
# > — section "Results on AMD and PPM-100"
#
# `modnet grid comparison PROFILE --folder F` trains every row of these tables with every seed. With one seed, all
# methods start from the same pre-trained backbone and see the same samples in the same order; each has its own losses
# and stages, and a method of several stages divides the steps among them. The paper's sets become three that anyone
# can have: photographs (Table 1), the same people in front of other scenes (Table 2), and drawn people with exact
# mattes (Table 5).

# %%
RUN = paths.RUNS / "notebooks" / "06" / PROFILE
if few:
    shutil.rmtree(RUN, ignore_errors=True)  # other profiles continue
some = ["shm", "modnet"] if few else list(comparison.rows)
live = grid.run_grid(comparison, profile.changed({"seeds": 1}) if few else profile, RUN, rows=some)

# %% tags=["nbval-check-output"]
for key in some[:2]:
    chosen = grid.recipe(comparison, profile, key, profile.seed)
    print(f"{comparison.rows[key].label:9s} trained for {chosen.training.steps} steps, measured on", *live["errors"])
print(*sorted(file.name for file in RUN.iterdir() if few))

# %% [markdown]
# **What will be compared, and when it decides.** Three steps show that the machinery runs and nothing else. The
# recorded run of this repository is no better: 400 samples at 96 pixels, where the top feature map has 3 × 3 cells and
# e-ASPP's convolutions with rates 3, 5 and 7 reach outside it. So its numbers are not shown. From the profile
# `overnight` on (10,000 samples a row at 256 pixels), the comparison is meant to tell methods apart:
#
# ```bash
# modnet grid comparison overnight --folder runs/baselines   # two CPU cores; the same command resumes
# modnet grid comparison full --folder runs/baselines        # one GPU
# ```
#
# The table below has the paper's numbers, and ours beside them as soon as a run of that size exists. Compare the
# *order* of the rows within a column, never the paper's column with ours: the pictures differ.

# %%
newest = results.recorded_run("06_baselines_and_efficiency") if few else live
decides = newest if newest["profile"] in ("overnight", "full", "paper") else None
mine = decides["errors"] if decides else {}
head = [
    f"{who} {table.split(':')[0]}" for table in comparison.sets.values() for who in ["paper", "ours"][: 1 + bool(mine)]
]


def cells_of(key, row):
    """MSE / MAD of a row in each column."""
    for name in comparison.sets:
        yield " / ".join(f"{value:.4f}" for value in row.paper.get(name, ()))
        if mine:
            errors = mine[name].get(key, {})
            yield " / ".join(f"{torch.tensor(errors[one]).mean():.4f}" for one in ("mse", "mad") if one in errors)


shown = {key: row for key, row in comparison.rows.items() if mine or row.paper}
results.markdown_table(["MSE / MAD", *head], [[row.label, *cells_of(key, row)] for key, row in shown.items()])

# %% [markdown]
# † starts from a backbone that was pre-trained on masks of people.
#
# Table 1 claims an order: without a trimap, from DIM to MODNet, the error falls with every row. Each step is a claim
# of its own. When `decides` holds a run, the first of the next two cells tests it: the mean change over the pictures,
# with the 95 % interval over pictures and seeds of notebook [04](04_ablation_study.ipynb). An interval that contains
# zero leaves a claim open. The second cell shows the mattes of the trained methods (Fig. 5 and 8). Both cells are empty
# until a large enough run is recorded.

# %%
if decides:
    figure, axes = plt.subplots(1, 2, figsize=(10, 6), layout="constrained", sharey=True)
    for axis, metric in zip(axes, ("mse", "mad"), strict=True):
        for place, one in enumerate(grid.compare(comparison, decides, metric)):
            mean, low, high = (100 * value for value in one.change)
            colour = figures.BLUE if one.change.is_clear else "#999999"
            axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=3)
        axis.axvline(0, color="grey", linewidth=1)
        axis.set(title=metric.upper(), xlabel="change × 100; left of zero is as claimed")
    pairs = [f"{comparison.rows[a].label} → {comparison.rows[b].label}" for a, b in comparison.compare]
    axes[0].set_yticks(range(len(pairs)), pairs)
    axes[0].invert_yaxis()

# %%
file, shown = paths.RESULTS / "06_baselines_and_efficiency.jpg", comparison.gallery
if not few:
    file = RUN / "mattes.jpg"
    checkpoints = [RUN / f"{key}-{profile.seed}" / "modnet.safetensors" for key in shown]
    portraits.draw_gallery(file, checkpoints, profile.device)
if decides:
    sheet, titles = images.read_image(file), ["picture", *(comparison.rows[key].label for key in shown)]
    side = sheet.shape[1] // (len(titles) + 1)
    for line in (0, 1, 3):  # two photographs and a drawn person
        tiles = [sheet[line * side : (line + 1) * side, k * side : (k + 1) * side] for k in range(len(titles))]
        figures.image_row(tiles, titles, columns=4)

# %% [markdown]
# ## 6. Fig. 6: what a method costs
#
# > We measure the model size by the total number of parameters, and we reflect the execution efficiency by the average
# > inference time over PPM-100 on an NVIDIA GTX 1080Ti GPU (all input images are resized to 512×512). Note that fewer
# > parameters do not imply faster inference speed due to large feature maps […].
# >
# > — section "Results on AMD and PPM-100"
#
# The last sentence can be checked with two layers. A convolution uses its $k^2\,c_\text{in}\,c_\text{out}$ weights
# once at each place of its output, for one multiplication and one addition. M-Net's first convolution is 3 × 3 from 6
# to 16 channels at 512 × 512; the first of T-Net's decoder is 1 × 1 from 1280 to 128 channels at 16 × 16. **Predict**
# which has more weights, which needs more operations, and by which factors.


# %%
def work(convolution, height, width):
    """Weights and FLOPs of a convolution with an output of that size."""
    weights = convolution.weight.numel()
    return weights, 2 * weights * height * width


# %% tags=["nbval-check-output"]
network = efficiency.create_method("shm")
layers = {"M-Net": (network.m_net.encode[0], 6, 512), "T-Net's decoder": (network.t_net.reduce, 1280, 16)}
for name, (layer, channels, side) in layers.items():
    weights, flops = work(layer[0], side, side)
    assert flops == cost.count_flops(layer, torch.rand(1, channels, side, side))
    print(f"{name:15s} {weights:7,} weights, {flops / 1e6:4.0f} million FLOPs by hand and by torch's counter")

# %% [markdown]
# T-Net's layer has 190 times the weights, but M-Net's layer needs 5.4 times the operations. Does the same hold for
# the whole networks? M-Net has 243,633 parameters, and T-Net with its backbone eleven times as many. **Predict** which
# of the two takes longer.

# %%
costs = results.recorded_run("efficiency")
parts = costs["methods"]["shm"]["parts"]
results.record("mnet_weights_share", parts["T-Net"]["parameters"] / parts["M-Net"]["parameters"])
results.record("mnet_flops_ratio", parts["M-Net"]["gflops"] / parts["T-Net"]["gflops"])
results.record("mnet_time_ratio", parts["M-Net"]["milliseconds"] / parts["T-Net"]["milliseconds"])
rows = [
    [name, f"{one['parameters']:,}", f"{one['gflops']:.1f}", f"{one['milliseconds']:.0f}"]
    for name, one in parts.items()
]
results.markdown_table(["SHM at 512 × 512", "parameters", "GFLOPs", "ms, one thread"], rows)

# %% [markdown]
# T-Net has 10.8<!-- mnet_weights_share --> times the parameters of M-Net, but M-Net needs
# 2.0<!-- mnet_flops_ratio --> times the operations, because it works at full size. M-Net also took
# 1.2<!-- mnet_time_ratio --> times as long, as the median of three rounds. That is the paper's remark in numbers.
#
# Now all methods. **Predict** where in such a figure the best method lies, and whether MODNet lies there.

# %%
title = {key: key.replace("_", ", ") for key in costs["methods"]}
title |= {key: baselines.create_baseline(key).title for key in baselines.BASELINES}
title |= {"modnet": "MODNet", "modnet_trimap": "MODNet, trimap", "dim_trimap": "DIM, trimap"}
figure, axis = plt.subplots(figsize=(9.5, 4.6), layout="constrained")
drawn = {key: one for key, one in costs["methods"].items() if "trimap" not in key}
for number, (key, one) in enumerate(sorted(drawn.items(), key=lambda pair: pair[1]["parameters"])):
    x, y, colour = one["milliseconds"], one["parameters"] / 1e6, figures.ORANGE if key == "modnet" else figures.BLUE
    axis.scatter(x, y, s=8 * one["gflops"], color=colour, alpha=0.6)
    offset = (0, (-1) ** number * (9 + 1.4 * one["gflops"] ** 0.5) - 3)
    axis.annotate(title[key], (x, y), offset, textcoords="offset points", ha="center", fontsize=8)
two = results.recorded_run("09_your_own_pictures")["speed"]["rows"]["paper eager float32"]["p50_ms"]
axis.scatter(two, 3.37, s=8 * 14.3, facecolors="none", edgecolors=figures.ORANGE, label="MODNet, two threads")
for name, (spent, y) in {"MODNet": (14.9, 6.2), "FDMPA": (1000 / 31, 5.2)}.items():
    axis.axvline(spent, color="grey", linestyle=":")
    axis.text(spent * 1.05, y, f"the paper's\n{name}:\n{spent:.0f} ms,\nGTX 1080Ti", fontsize=8, va="top")
for gflops in (5, 20, 80):
    axis.scatter([], [], s=8 * gflops, color=figures.BLUE, alpha=0.6, label=f"{gflops} GFLOPs")
axis.legend(title="one thread; area: FLOPs", labelspacing=1.6, loc="center left", bbox_to_anchor=(1, 0.5))
axis.set(xscale="log", xlabel="milliseconds a picture", ylabel="million parameters", ylim=(1.8, 6.4))
_ = axis.set_xticks([10, 30, 100, 300, 1000, 3000], [10, 30, 100, 300, 1000, 3000], minor=False)

# %%
print(costs["provenance"])
keys = sorted(costs["methods"], key=lambda key: costs["methods"][key]["milliseconds"])
for key in ("fdmpa", "hatt", "bshm", "shm", "dim"):
    results.record(f"time_{key}", costs["methods"][key]["milliseconds"] / costs["methods"]["modnet"]["milliseconds"])
columns = {"parameters": "{:,}", "gflops": "{:.1f}", "megabytes": "{:.0f}", "milliseconds": "{:.0f}"}
rows = [[title[key], *(text.format(costs["methods"][key][name]) for name, text in columns.items())] for key in keys]
results.markdown_table(["", "parameters", "GFLOPs", "MiB", "ms"], rows)

# %% [markdown]
# MiB is the peak memory of the intermediate results. Two claims of the paper can be checked, and neither holds *here*:
#
# - *"MODNet has the smallest number of parameters among the trimap-free methods."* On the same backbone five of the
#   six trimap-free methods of Table 1 are smaller. We chose slim decoders, so this says more about our choice than
#   about the methods.
# - *Twice the frames of the fastest other method, FDMPA.* Here FDMPA takes 0.46<!-- time_fdmpa --> and HAtt
#   0.52<!-- time_hatt --> times as long as MODNet, with fewer operations. The paper's FDMPA is another network, and it
#   was timed on another device.
#
# *Multi-stage methods are slower* holds for most: SHM takes 1.2<!-- time_shm --> times and DIM 1.9<!-- time_dim -->
# times as long as MODNet. BSHM takes 1.0<!-- time_bshm --> times as long, and FDMPA is faster. IndexNet and CRGNN cost
# most: their first index block works at full size.
#
# A stopwatch is five lines, and easy to get wrong: warm up, repeat, take the median. (On a GPU, also wait for the
# device before you stop.)


# %%
def milliseconds(network, inputs, rounds=5):
    """Times of `rounds` forward passes, sorted; a warm-up pass is not counted."""
    spent = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        with torch.inference_mode():
            network(**inputs)
        spent.append(1000 * (time.perf_counter() - start))
    return sorted(spent[1:])


rows = []
for key in ("fdmpa", "modnet", "shm"):
    network = efficiency.create_method(key)
    best, _, median, _, worst = milliseconds(network, efficiency.random_inputs(network, 256))
    rows.append([title[key], *(f"{value:.0f}" for value in (best, median, worst))])
results.markdown_table(
    [f"256 × 256, here, {torch.get_num_threads()} thread(s)", "fastest, ms", "median", "slowest"], rows
)

# %% [markdown]
# If the fastest and the slowest differ much, something else was probably running. Now the same network, MODNet, run in
# six ways:

# %%
speed = results.recorded_run("09_your_own_pictures")["speed"]["rows"]
results.record("slowest", costs["methods"]["modnet"]["milliseconds"], unit="ms")
rows = [["plain, one thread (the figure above)", costs["methods"]["modnet"]["milliseconds"]]]
for name, how in {"eager": "plain", "fused": "norms folded", "onnxruntime": "ONNX Runtime"}.items():
    rows.append([f"{how}, two threads (notebook 09)", speed[f"paper {name} float32"]["p50_ms"]])
rows.append(["norms folded, bfloat16, two threads (notebook 09)", speed["paper fused bfloat16"]["p50_ms"]])
rows.append(["the paper: GTX 1080Ti", 14.9])
results.markdown_table(["MODNet at 512 × 512", "ms"], [[name, f"{value:.0f}"] for name, value in rows])

# %% [markdown]
# One architecture, one size, and times from 561<!-- slowest --> to 15 ms. So a time means little without its device,
# threads, number format, batch, size and way of running, and this is why the other notebooks quote other numbers for
# the same MODNet. A GPU may also change the order of the methods. `benchmarks/efficiency.py` can measure that; it has
# not been run on a GPU yet.
#
# ## Results

# %%
for key in ("modnet", "shm", "fdmpa", "indexnet"):
    results.record(f"parameters_{key}", cost.count_parameters(efficiency.create_method(key)))
results.ResultsTable("06_baselines_and_efficiency", PROFILE)

# %% [markdown]
# ## What to believe, and what to use
#
# - **The paper's order of methods** (Tables 1, 2 and 5) is its own result on data that is not public. This repository
#   has neither confirmed nor refuted it, because the recorded run is far too small. The commands of section 5 start a
#   larger one.
# - **The ideas** you have checked yourself: a confident first stage is final, and pooling loses places that indices
#   keep.
# - **The costs** are measured, but on a CPU and for decoders of our choice. Parameters do not predict the time: T-Net
#   has 10.8<!-- mnet_weights_share --> times those of M-Net and takes less time.
# - **Which method?** For a single picture that has to be perfect, draw a trimap: in Table 1 it cuts the MSE of MODNet
#   to less than a third. With a fixed camera, a picture of the empty background (BM) is easy to take. For everything
#   else, use one network on one picture.
# - **A fair comparison** gives every method the same tuning, not only the same steps (exercise 3).
#
# ## Exercises
#
# Exercises with a code in quotes check themselves and say what is wrong. In a new cell, with your answer for the
# dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("06.1", ...)
# ```
#
# **1.** T-Net of SHM is sure that 1 % of all pixels are foreground, and their true alpha is 0. What is the smallest MAD
# that the fused matte can reach? (`"06.1"`)
#
# <details><summary>Answer</summary>
#
# 0.01. Where $U_s = 0$, $\alpha = F_s$, whatever M-Net says. Training both together helps because T-Net can learn to
# be unsure: an unknown pixel can still be repaired.
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
# A convolution uses its weights at every place of its output: weights × places is the work. A small network at full
# size does more than a large one at 1/32.
#
# </details>
#
# **3.** All methods get the same steps and the same learning rate. Which are treated unfairly, and in which
# direction?
#
# <details><summary>Answer</summary>
#
# Methods of several stages divide the steps: each of BSHM's networks gets only a part of them. Methods that need
# another learning rate do not get it; the paper searched one for each. And MODNet's shape, loss weights and
# augmentation were tuned in this project before the others were built, which favours it. A fair budget covers tuning
# *and* training.
#
# </details>
#
# **4.** LFM has two decoders. One says how surely a pixel is foreground ($F$), the other how surely it is background
# ($B$), and a third network gives a weight $\beta$: $\alpha = \beta F + (1 - \beta)(1 - B)$. Write it for tensors,
# and find out where $\beta$ does not matter. (`"06.4"`: `late_fusion(foreground, background, beta)`)
#
# <details><summary>Answer</summary>
#
# ```python
# def late_fusion(foreground, background, beta):
#     return beta * foreground + (1 - beta) * (1 - background)
#
#
# check_answer("06.4", late_fusion)
# ```
#
# The derivative with respect to $\beta$ is $F - (1 - B)$: $\beta$ does not matter where $F + B = 1$, that is, where
# both decoders agree. Unlike SHM's fusion, no decoder can overrule the other alone.
#
# </details>
#
# **5.** HAtt scales each channel of its deep features (C, H, W) by a number between 0 and 1: the mean of each channel
# goes through a linear layer, a ReLU, a second linear layer and a sigmoid. Write it without biases. (`"06.5"`:
# `channel_attention(x, first, second)` with matrices (C/2, C) and (C, C/2))
#
# <details><summary>Answer</summary>
#
# ```python
# def channel_attention(x, first, second):
#     means = x.mean(dim=(1, 2))
#     weights = (second @ (first @ means).relu()).sigmoid()
#     return x * weights[:, None, None]
#
#
# check_answer("06.5", channel_attention)
# ```
#
# </details>
#
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective
#   Decomposition.* AAAI 2022. Tables 1, 2 and 5, Fig. 5, 6 and 8, Appendices B to D.
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
