# %% [markdown]
# # 02 Building MODNet: why three branches, and what does e-ASPP save?
#
# This notebook takes the network apart: Fig. 2 and Fig. 3, the costs of Appendix A (Eq. 9–16) and the
# objectives (Eq. 2–5). Almost every number is first worked out by hand and then measured on the real network.

# %% [markdown]
# ## You will be able to
#
# - predict the shape of every map in MODNet for a given input;
# - turn [ASPP into e-ASPP](GLOSSARY.md#aspp-e-aspp) in three steps and count what each step saves;
# - explain what D's skip link and F's order of operations are for;
# - write down the three losses and say which branch each of them trains;
# - tell the paper's network from the released one, and name what the paper leaves open.

# %% [markdown]
# ## Needs
#
# Convolutions and PyTorch; [notebook 00](00_start_here.ipynb) for the words *matte* and *Eq. 1*. No data.
# Reading takes about 27 minutes. The smoke profile takes about 25 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, full or paper; see notebooks/profiles

# %%
import copy
import timeit
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from ipywidgets import interact
from torch import nn

from modnet_lib import paths
from modnet_lib.data.assemble import MattingBatch
from modnet_lib.data.sets import drawn_people
from modnet_lib.data.trimaps import trimap_from_alpha
from modnet_lib.images import to_tensor
from modnet_lib.inference import Matter
from modnet_lib.network import ASPP, EfficientASPP, MODNet, cost, load_checkpoint
from modnet_lib.network.layers import EASPP_DILATIONS, upsample
from modnet_lib.notebook.figures import image_row, show_prediction, show_source, use_style
from modnet_lib.notebook.inspector import MatteInspector
from modnet_lib.notebook.results import ResultsTable, record
from modnet_lib.objectives.supervised import compositional_loss, paper_objective, semantic_loss, semantic_target
from modnet_lib.profiles import Profile

profile = Profile.load(PROFILE)
_ = torch.manual_seed(profile.seed)
use_style()

# %% [markdown]
# ## 1. Three questions, three branches (Fig. 2)
#
# > "Given an input image $I$, MODNet predicts portrait semantics $s_p$, boundary details $d_p$, and final alpha
# > matte $\alpha_p$ through three interdependent branches, $S$, $D$, and $F$, which are constrained by explicit
# > supervisions generated from the ground truth matte $\alpha_g$." *(Fig. 2)*
#
# One network could go from image to matte in a single sweep. But finding the person needs a wide view of a small
# map, and drawing a hair needs a narrow view of a large map. MODNet gives each task its own branch and its own target.
#
# ![Fig. 2, the architecture of MODNet. S halves the image five times and ends with e-ASPP on 1280 maps of 16 by 16. D works at a quarter of the size with at most 64 channels, takes the low-level features of S and S(I), and restores the full size. F joins S(I) and D(I, S(I)) to the matte. Each branch has a loss of its own.](figures/fig2.svg)
#
# Follow the width of the maps: S works on small maps with many channels, D on large maps with few. That split decides
# where the weights are. Which branch will hold most of them?

# %% tags=["nbval-check-output"]
network = MODNet().eval()
branches = {"S": network.semantic_branch, "D": network.detail_branch, "F": network.fusion_branch}
for name, branch in branches.items():
    print(f"{name}: {cost.count_parameters(branch):>9,} parameters")
print(f"M: {cost.count_parameters(network):>9,}")

# %% [markdown]
# S holds nine tenths of them. D and F are small, but they work at high resolution, so weights do not tell the cost.
#
# ## 2. S: where is the person?
#
# > "The difference is that we extract high-level semantics only through an encoder, *i.e.*, the low-resolution
# > branch $S$ of MODNet. [...] An arbitrary CNN backbone can be applied to $S$." *(Semantic Estimation)*
#
# MobileNetV2, the [backbone](GLOSSARY.md#backbone), halves the map five times. So $512 \times 512$ becomes 256, 128, 64, 32 and 16 pixels a side. Its
# channels at these places are 16, 24, 32, 96 and 1280. Eq. 2 asks for $s_p$ at 1/16, so it has $512 / 16 = 32$ pixels
# a side. The other two outputs have the size of the picture.

# %% tags=["nbval-check-output"]
picture = torch.rand(1, 3, 512, 512)
with torch.no_grad():
    pyramid = network.semantic_branch.backbone(picture * 2 - 1)
    output = network(picture, auxiliary=True)
for features in pyramid:
    print(tuple(features.shape))
for name, value in output._asdict().items():
    print(f"{name:8}", tuple(value.shape))

# %% [markdown]
# The last map of the pyramid becomes $S(I)$. One of its $16 \times 16$ cells stands for $32 \times 32$ pixels: enough to
# say *there is a person here*, useless for hair. $s_p$ is twice as fine as that map. The paper does not say how it
# gets there; we enlarge bilinearly.
#
# ### Why S needs context
#
# > "Semantic masks predicted by MobileNetV2 may have holes in some challenging foregrounds or backgrounds. Many prior
# > works showed that ASPP was a feasible solution for improving such erroneous semantics." *(Efficient ASPP)*
#
# A hole can appear when a cell decides mostly from what lies near it. The middle of a plain coat looks like a plain wall.
# Cells further away show the collar and the sleeves. *Atrous spatial pyramid pooling* (ASPP) lets a cell look there:
# it applies several $3 \times 3$ convolutions with different dilations, so their taps lie 1, 2, 3, … cells apart.
#
# Our five rates are 1, 2, 3, 5 and 7. By hand: each rate has 8 outer taps and all share the middle one, so a cell
# looks at $5 \cdot 8 + 1 = 41$ places, over a width of $2 \cdot 7 + 1 = 15$ cells. Gradients can count that: which
# cells of the input influence the middle cell of the output?

# %% tags=["nbval-check-output"]
module = EfficientASPP(64).eval()
for parameter in module.parameters():
    parameter.data.abs_()  # positive weights: nothing cancels, no ReLU is off
cells = torch.rand(1, 64, 16, 16, requires_grad=True)
module(cells)[0, :, 8, 8].sum().backward()
touched = cells.grad[0].abs().sum(dim=0) > 0
rows = touched.any(dim=1).nonzero()
print("rates", EASPP_DILATIONS, "- places:", int(touched.sum()), "- width:", int(rows.max() - rows.min()) + 1)
alone = torch.zeros(16, 16)
alone[8, 8] = 1
image_row(
    [alone, touched.float()],
    ["without: 1 cell", "with e-ASPP: 41 cells"],
    caption="White: cells of S(I) that the middle cell can use. The pattern is dense inside and spans the map.",
    height=2.2,
)

# %% [markdown]
# ### Which rates make sense?
#
# The paper names no [dilation rates](GLOSSARY.md#dilation-rate). Rates of 6, 12 and 18 are common elsewhere, on larger maps. On a map of $n$ cells a
# tap at distance $r \ge n$ lies outside for *every* position. It only ever multiplies padding, and its weight gets no
# gradient. So of nine taps only the middle one lives once $r \ge n$. Predict the living taps of rate 8 on the
# $16 \times 16$ map of a 512 picture, and on the $8 \times 8$ map of a 256 picture.


# %% tags=["nbval-check-output"]
def living_taps(rate: int, size: int) -> int:
    """Taps of a dilated 3 x 3 convolution that get a gradient on a map of size x size."""
    convolution = nn.Conv2d(1, 1, 3, padding=rate, dilation=rate, bias=False)
    convolution(torch.ones(1, 1, size, size)).sum().backward()
    return int((convolution.weight.grad > 0).sum())


print("rate      " + "".join(f"{rate:4}" for rate in range(1, 25)))
for size in (16, 8):
    print(f"{size:2} x {size:<2}   " + "".join(f"{living_taps(rate, size):4}" for rate in range(1, 25)))


# %%
@interact(rates=" ".join(map(str, EASPP_DILATIONS)), side=[4, 8, 12, 16, 24, 32], row=(0, 31), column=(0, 31))
def seen_cells(rates, side=16, row=8, column=8):
    row, column = min(row, side - 1), min(column, side - 1)
    cells, live = np.full((side, side, 3), 0.92), []
    for number, rate in enumerate(map(int, rates.split())):
        taps = [(row + i * rate, column + j * rate) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        taps = [tap for tap in taps if min(tap) >= 0 and max(tap) < side]
        for tap in taps:
            cells[tap] = plt.cm.tab10(number)[:3]
        live.append(f"rate {rate}: {len(taps)} of 9")
    cells[row, column] = 0.1
    return image_row([cells], ["live taps\n" + "\n".join(live)])


# %% [markdown]
# A rate of 8 is dead at 256, a rate of 16 is dead at 512. Small runs train at 256 and below, so our rates stay below 8.
# The explorer shows a single cell, each tap in the colour of its rate. Give it a map side of 8 and the rates `6 12 18`: of
# their 27 taps three live in the middle of the map, six in a corner.
#
# ## 3. From ASPP to e-ASPP (Fig. 3, Eq. 9–16)
#
# > $$\mathcal{P} = C_{out} \times C_{in} \times K \times K \quad (9) \qquad
# > \mathcal{O} = C_{in} \times 2 \times K \times K \times H_{out} \times W_{out} \times C_{out} \quad (10)$$
# >
# > *Appendix A*
#
# Eq. 9 counts weights, Eq. 10 multiplications and additions ([FLOPs](GLOSSARY.md#flop)). By hand, for one $3 \times 3$ convolution from 1280 to
# 1280 channels: $1280^2 \cdot 9 = 14{,}745{,}600$ weights, each used twice (multiply, add) at each place of the map.
#
# ### Standard ASPP
#
# > $$\mathcal{P}_{ASPP} = m \times (c \times c \times k \times k) + c \times (m \times c) \times 1 \times 1
# > = m \times c^2 \times (k^2 + 1) \quad (11)$$
#
# Five such convolutions, then one point-wise convolution over the five results: $5 \cdot 1280^2 \cdot 10 =
# 81{,}920{,}000$ weights. The rest of MODNet has two and a half million.

# %% tags=["nbval-check-output"]
c, k, m = 1280, 3, 5
aspp = ASPP(c).eval()
top = torch.rand(1, c, 8, 8)  # S(I) of a 256 x 256 picture
print("Eq. 9,  formula: ", f"{cost.convolution_parameters(c, c, k):,}")
print("Eq. 9,  measured:", f"{aspp.scales[0][0].weight.numel():,}")
eq10 = cost.convolution_flops(c, c, k, 8, 8)
print("Eq. 10 agrees with torch's count:", eq10 == cost.count_flops(aspp.scales[0], top))
print("Eq. 11, formula: ", f"{cost.aspp_parameters(c):,}")
print("Eq. 11, measured:", f"{cost.count_parameters(aspp, nn.Conv2d):,}")
print("Eq. 12 agrees with torch's count:", cost.aspp_flops(c, 8, 8) == cost.count_flops(aspp, top))

# %% [markdown]
# ### Step 1: split
#
# > "First, we split each atrous convolution into a depth-wise atrous convolution and a point-wise convolution."
# > *(Efficient ASPP)*
#
# A depth-wise convolution treats each channel alone: $c \cdot k^2$ weights instead of $c^2 \cdot k^2$. The point-wise one
# mixes channels with $c^2$. By hand, with the final fusion: $m (c k^2 + c^2) + m c^2 = 57{,}600 + 8{,}192{,}000 +
# 8{,}192{,}000 = 16{,}441{,}600$.

# %% tags=["nbval-check-output"]
split = nn.ModuleList(
    nn.Sequential(nn.Conv2d(c, c, k, groups=c, dilation=rate, bias=False), nn.Conv2d(c, c, 1, bias=False))
    for rate in EASPP_DILATIONS
)
split.append(nn.Conv2d(m * c, c, 1, bias=False))
print(f"step 1, formula:  {m * (c * k**2 + c**2) + m * c**2:,}")
print(f"step 1, measured: {cost.count_parameters(split, nn.Conv2d):,}")

# %% [markdown]
# ### Step 2: switch the order
#
# > "Second, we switch the order of inter-channel fusion and the multi-scale feature fusion. In this way, (1) only one
# > inter-channel fusion is required, and (2) the multi-scale feature fusion is converted to a cheaper depth-wise
# > operation."
#
# Five point-wise convolutions and a wide one cost nearly everything that is left. Fuse the *scales* first: for each
# channel, a weighted sum of its five versions, $m$ weights. Then mix the *channels* once, $c^2$. By hand:
# $m c k^2 + m c + c^2 = 57{,}600 + 6{,}400 + 1{,}638{,}400 = 1{,}702{,}400$. This is Appendix A's variant with
# 2 % of ASPP's weights, our `reduction=1`.

# %% tags=["nbval-check-output"]
switched = EfficientASPP(c, reduction=1).eval()
print(f"step 2, formula:  {m * c * k**2 + m * c + c**2:,}")
print(f"step 2, measured: {cost.count_parameters(switched, nn.Conv2d):,}")

# %% [markdown]
# ### Step 3: compress
#
# > "Third, we compress the number of input channels by $4 \times$ for e-ASPP and recover it before the output."
# >
# > $$\mathcal{P}_{e\text{-}ASPP} = \frac{2 \times c^2 + (k^2 + 1) \times m \times c}{4} \quad (13)$$
#
# The one channel fusion now goes from $c/4$ to $c$ and recovers the number on the way. By hand:
# $(2 \cdot 1{,}638{,}400 + 10 \cdot 5 \cdot 1280) / 4 = (3{,}276{,}800 + 64{,}000) / 4 = 835{,}200$.

# %% tags=["nbval-check-output"]
easpp = EfficientASPP(c).eval()
print("Eq. 13, formula: ", f"{cost.easpp_parameters(c):,}")
print("Eq. 13, measured:", f"{cost.count_parameters(easpp, nn.Conv2d):,}")
print("Eq. 14 agrees with torch's count:", cost.easpp_flops(c, 8, 8) == cost.count_flops(easpp, top))
print("the map keeps its shape:", easpp(top).shape == top.shape)

# %% [markdown]
# ![Fig. 3, e-ASPP in four steps: 1280 channels are reduced to 320, filtered by five depth-wise 3 by 3 convolutions with the rates 1, 2, 3, 5 and 7, fused channel by channel over the five scales, and brought back to 1280 channels; 835,200 weights in all.](figures/fig3.svg)

# %%
show_source(EfficientASPP.forward)

# %% [markdown]
# Compare the tuples of the drawing (output channels, input channels, kernel size) with Eq. 13: a 1 as input channels
# marks a depth-wise operation. The live code has the same four steps. Its line with `stack` puts the five versions of
# a channel side by side, so that group $j$ sees channel $j$ only. Test that: disturb channel 7 of the reduced map. The
# change must arrive in channel 7 of the fused map and nowhere else.

# %% tags=["nbval-check-output"]
fused = []
watch = easpp.fuse_scales.register_forward_hook(lambda module, inputs, result: fused.append(result))
bump = torch.zeros(1, c // 4, 1, 1)
bump[:, 7] = 1
for shift in (0, bump):
    hook = easpp.reduce.register_forward_hook(lambda module, inputs, result, shift=shift: result + shift)
    _ = easpp(top)
    hook.remove()
watch.remove()
print("channels that changed:", (fused[0] != fused[1]).any(dim=(2, 3))[0].nonzero().flatten().tolist())

# %% [markdown]
# ### One per cent?
#
# > $$\frac{\mathcal{P}_{e\text{-}ASPP}}{\mathcal{P}_{ASPP}} \approx 0.01 \quad (15) \qquad
# > \frac{\mathcal{O}_{e\text{-}ASPP}}{\mathcal{O}_{ASPP}} \approx 0.01 \quad (16)$$
#
# Divide Eq. 13 by Eq. 11 for $k = 3$, $m = 5$: $(2c^2 + 50c) / (4 \cdot 50 c^2) = 0.01 + 1/(4c)$. So 0.01 is the
# limit for wide maps, and the excess at $c = 256$ is $1/1024$. Both ratios are equal, because every weight of
# both modules is used at each place of a map of the same size.

# %% tags=["nbval-check-output"]
for width in (64, 256, 1280):
    weights, flops = cost.parameter_ratio(width), cost.flop_ratio(width)
    uncompressed = float(cost.parameter_ratio(width, reduction=1))
    print(f"c = {width:4}: {float(weights):.4f} (Eq. 16 the same: {weights == flops}), uncompressed {uncompressed:.4f}")

# %%
formula = {
    "ASPP": (cost.aspp_parameters(c), cost.aspp_flops(c, 8, 8)),
    "uncompressed": (cost.easpp_parameters(c, reduction=1), cost.easpp_flops(c, 8, 8, reduction=1)),
    "e-ASPP": (cost.easpp_parameters(c), cost.easpp_flops(c, 8, 8)),
}
modules = dict(zip(formula, (aspp, switched, easpp), strict=True))
measured = {n: (cost.count_parameters(x, nn.Conv2d), cost.count_flops(x, top)) for n, x in modules.items()}
record("easpp_weights", cost.count_parameters(easpp, nn.Conv2d), paper=835_200)
record("easpp_weight_ratio", measured["e-ASPP"][0] / measured["ASPP"][0], paper=0.01)
record("easpp_flop_ratio", measured["e-ASPP"][1] / measured["ASPP"][1], paper=0.01)
record("uncompressed_weight_ratio", measured["uncompressed"][0] / measured["ASPP"][0], paper=0.02)
figure, panels = plt.subplots(1, 2, figsize=(10, 2.8), sharey=True, layout="constrained")
for index, (panel, title) in enumerate(zip(panels, ("weights", "FLOPs of one pass"), strict=True)):
    for offset, (label, costs) in zip((-0.2, 0.2), {"formula": formula, "measured": measured}.items(), strict=True):
        bars = panel.barh(np.arange(3) + offset, [pair[index] for pair in costs.values()], 0.38, label=label)
        panel.bar_label(bars, fmt="{:,.0f}", padding=3)
    panel.set(xscale="log", title=title, yticks=range(3), yticklabels=formula)
    panel.margins(x=0.35)
panels[0].invert_yaxis()
_ = panels[1].legend(loc="lower right")

# %% [markdown]
# *Uncompressed* is e-ASPP after step 2. The axis is logarithmic: each grid line is a factor of ten. Formula and measurement agree to the last weight.
# Is the clock as impressed as the formula? This output depends on your machine, so no test compares it.

# %%
for name, x in modules.items():
    with torch.inference_mode():
        seconds = timeit.repeat(partial(x, top), number=1, repeat=profile.timing_repeats)
    print(f"{name:13}{1000 * np.median(seconds):8.1f} ms")

# %% [markdown]
# ## 4. D: what does the border look like?
#
# > "In practice, $D$ consists of 12 convolutional layers, and its maximum channel number is 64. The resolution of the
# > feature maps is reduced to 1/4 of $I$ in the first layer and restored in the last two layers. The impact of the
# > downsampling operation on $D$ is negligible since it contains a skip link." *(Detail Prediction)*
#
# Predict for a 512 picture: the first map has 128 pixels a side, and only the eleventh and the twelfth layer work at
# 256 and 512. Four of the middle layers only bring maps of S to 64 channels: they are the *low-level features* and $S(I)$.

# %% tags=["nbval-check-output"]
layers, hooks = [], []


def note(module, inputs, result):
    """Remember the name and the output's shape of a layer."""
    layers.append((names[module], result.shape[1:]))


names = {layer: name for name, layer in network.detail_branch.named_modules()}
for layer, name in names.items():
    if isinstance(layer, nn.Conv2d) and name != "head":
        hooks.append(layer.register_forward_hook(note))
with torch.no_grad():
    network(picture)
for hook in hooks:
    hook.remove()
for number, (name, shape) in enumerate(layers, start=1):
    print(f"{number:2}  {name:12} {shape[0]:3} channels, {shape[1]} x {shape[2]}")

# %% [markdown]
# Twelve layers, at most 64 channels, 1/4 in the first and restored in the last two. (A thirteenth, point-wise one
# turns the result into $d_p$. Without a loss nobody needs it, so it is skipped after training.)
#
# ### What the skip link does
#
# At 1/4 a hair of one pixel is a quarter of a cell. The skip link brings the image itself past the reduction to layers
# 11 and 12. Take the trained network, set the weights of these inputs to zero, and look at $d_p$ on a drawn portrait
# whose true matte is known. (The backbone's map at 1/2 still enters layer 11.)

# %%
portrait = drawn_people(7, "validation").readers[6]()
image, true = portrait.image, portrait.alpha / np.float32(255)
trained = load_checkpoint(paths.PRETRAINED)
cut = copy.deepcopy(trained)
cut.detail_branch.restore1[0].weight.data[:, -3:] = 0  # the image at full size
cut.detail_branch.restore2[0].weight.data[:, -3:] = 0  # the image at 1/2
with torch.no_grad():
    details = [net(to_tensor(image), auxiliary=True).detail[0, 0] for net in (trained, cut)]

# %%
mixed = ((true > 0.2) & (true < 0.8)).reshape(4, 96, 4, 96).sum(axis=(1, 3))
row, column = np.unravel_index(mixed.argmax(), mixed.shape)
window = slice(96 * row, 96 * row + 96), slice(96 * column, 96 * column + 96)
image_row(
    [image, image[window], true[window], details[0][window], details[1][window]],
    ["image", "zoom", "true matte", "$d_p$", "$d_p$, skip link cut"],
    caption="The window with the most mixed pixels. Compare the two maps on the right: what is finer in the first?",
)

# %% [markdown]
# Read this with care. The trained weights expect the link, so cutting it shows that *this* D uses it. Whether a D that
# was trained without it would be worse is a different experiment (exercise 2).
#
# ## 5. F: both together
#
# > "We first upsample $S(I)$ to match its size with $D(I, S(I))$. We then concatenate $S(I)$ and $D(I, S(I))$ to predict
# > the final alpha matte $\alpha_p$." *(Semantic-Detail Fusion)*
#
# Taken literally, $S(I)$ becomes a map of 1280 channels at $512 \times 512$. By hand, in float32:
# $1280 \cdot 512 \cdot 512 \cdot 4$ bytes $= 1.34$ GB for one picture. Our F first projects to 16 channels with a
# $1 \times 1$ convolution and enlarges then. Is that the same function? Enlarging mixes *places* with weights that sum
# to one, the $1 \times 1$ convolution mixes *channels*, and both are linear. So the order should not matter.

# %% tags=["nbval-check-output"]
project = network.fusion_branch.project.double()
semantics = torch.rand(1, c, 4, 4, dtype=torch.float64)
with torch.no_grad():
    enlarged_first = project(upsample(semantics, 32))
    projected_first = upsample(project(semantics), 32)
print("largest difference below 1e-9:", bool((enlarged_first - projected_first).abs().max() < 1e-9))
print("numbers after enlarging:", semantics.numel() * 32**2, "and", project(semantics).numel() * 32**2)
_ = network.float()

# %% [markdown]
# Equal, with an eightieth of the memory. The same trick serves the head of $s_p$.
#
# ## 6. Objectives (Eq. 2–5)
#
# Every target comes from one label, the true matte $\alpha_g$. A drawn portrait has an exact one.
#
# > $$\mathcal{L}_s = \frac{1}{2} \|s_p - G(\alpha_g)\|_2 \quad (2)$$
# > "where $G$ stands for $16\times$ downsampling followed by Gaussian blur. It removes the fine structures (such as
# > hair) that are not essential to portrait semantics."
# >
# > $$\mathcal{L}_d = m_d \|d_p - \alpha_g\|_1 \quad (3)$$
# > "$m_d$ is generated through dilation and erosion on $\alpha_g$."
#
# Predict the shape of $G(\alpha_g)$ for 384 pixels: $384 / 16 = 24$.

# %% tags=["nbval-check-output"]
true_alpha = to_tensor(true)
trimap = trimap_from_alpha(true_alpha, size=22)  # 30 pixels at 512, in proportion
transition = (trimap == 0.5).float()
target = semantic_target(true_alpha)
print("G(alpha):", tuple(target.shape))
print("m_d:     ", tuple(transition.shape), "with values", transition.unique().tolist())

# %%
weights = (1 + 10 * transition) / 11
image_row(
    [true_alpha, target, transition, weights],
    [
        "matte $\\alpha_g$",
        "$G(\\alpha_g)$, 1/16",
        f"$m_d$: {100 * float(transition.mean()):.1f} % of the pixels",
        "weight of an error of $d_p$ and $\\alpha_p$\n$\\lambda_\\alpha + \\lambda_d\\,m_d$: white 11, black 1",
    ],
)

# %% [markdown]
# The strands are gone from $G(\alpha_g)$, as the paper wants. $m_d$ is the band where the person ends. On the right:
# with $\lambda_d = 10$ an error inside the band counts eleven times as much as one outside. The band comes from a trimap,
# made from the label and used for the loss only; the network never sees it.
#
# Norms are ambiguous: a sum would grow with the picture. We take means. Eq. 2 in plain loops, against the library:

# %% tags=["nbval-check-output"]
guess = torch.rand(1, 1, 24, 24)
total = 0.0
for y in range(24):
    for x in range(24):
        total += (guess[0, 0, y, x].item() - target[0, 0, y, x].item()) ** 2
print("Eq. 2 by hand agrees:", abs(total / 24**2 / 2 - semantic_loss(guess, true_alpha).item()) < 1e-6)

# %% [markdown]
# > $$\mathcal{L}_\alpha = \|\alpha_p - \alpha_g\|_1 + \mathcal{L}_c \quad (4)$$
# > "where $\mathcal{L}_c$ [...] measures the absolute difference between input image $I$ and the composited image
# > obtained from $\alpha_p$, the ground truth foreground, and the ground truth background."
#
# Insert Eq. 1 for $I$ and subtract: $\alpha_p F + (1 - \alpha_p) B - I = (\alpha_p - \alpha_g)(F - B)$. So $\mathcal{L}_c$
# is the error of the matte, weighted by how different person and background look. Where both have the same colour an
# error is invisible in the composite, and $\mathcal{L}_c$ forgives it. The L1 term does not.

# %% tags=["nbval-check-output"]
F, B = to_tensor(portrait.foreground), to_tensor(portrait.background)
exact = true_alpha * F + (1 - true_alpha) * B  # I before rounding to 8 bits
wrong = (true_alpha + 0.3 * torch.rand_like(true_alpha)).clamp(0, 1)
by_hand = ((wrong - true_alpha).abs() * (F - B).abs()).mean()
print("identity holds:", bool((compositional_loss(wrong, exact, F, B) - by_hand).abs() < 1e-6))
print("true matte gives zero:", bool(compositional_loss(true_alpha, exact, F, B) < 1e-6))

# %% [markdown]
# > $$\mathcal{L} = \lambda_s \mathcal{L}_s + \lambda_d \mathcal{L}_d + \lambda_\alpha \mathcal{L}_\alpha \quad (5)$$
# > "We set $\lambda_s = \lambda_\alpha = 1$ and $\lambda_d = 10$."
#
# The paper gives no reason for ten. One is plausible: $\mathcal{L}_d$ is averaged over the whole picture, but it is zero
# outside the band.

# %% tags=["nbval-check-output"]
truth = MattingBatch(exact, true_alpha, trimap, F, B)
network.train()
losses = paper_objective(network(exact), truth)
sum_by_hand = losses.semantic + 10 * losses.detail + losses.matte
print("Eq. 5 agrees:", bool((losses.total - sum_by_hand).abs() < 1e-6))

# %% [markdown]
# ## 7. Which loss trains which branch?
#
# > "Since the decomposed sub-objectives are correlated and help strengthen each other, we can optimize MODNet
# > end-to-end." *(Fig. 2)*
#
# "Interdependent" can be read off the arrows of Fig. 2, and checked with gradients. Predict a table of yes and no: each
# loss against each part. $\mathcal{L}_s$ leaves through the head of S. D reads $S(I)$, F reads both.

# %%
parts = {
    "backbone": network.semantic_branch.backbone,
    "e-ASPP": network.semantic_branch.context,
    "head of S": network.semantic_branch.head,
    "D": network.detail_branch.process,
    "head of D": network.detail_branch.head,
    "F": network.fusion_branch,
}
norms = {}
for name in ("semantic", "detail", "matte"):
    network.zero_grad()
    getattr(losses, name).backward(retain_graph=True)
    norms[name] = []
    for part in parts.values():
        gradients = [p.grad.flatten() for p in part.parameters() if p.grad is not None]
        norms[name].append(float(torch.cat(gradients).norm()) if gradients else 0.0)

print(" " * 10 + "".join(f"{part:>11}" for part in parts))
for name, row in norms.items():
    print(f"{name:10}" + "".join(f"{norm:11.2g}" for norm in row))

# %% tags=["nbval-check-output"]
print(" " * 10 + "".join(f"{part:>11}" for part in parts))
for name, row in norms.items():
    print(f"{name:10}" + "".join(f"{'yes' if norm > 0 else '-':>11}" for norm in row))

# %% [markdown]
# First the norms of the gradients of an untrained network, then the same table as yes and no. The detail loss
# reaches the backbone *through* $S(I)$: hair teaches semantics too. The matte loss reaches everything but the two heads,
# and the semantic loss leaves D and F alone.
#
# ## 8. The paper's network and the released one
#
# The authors' repository holds an earlier network than the paper describes. Both are here by name, and
# `load_checkpoint` reads the authors' files.
#
# | | paper | released code |
# |---|---|---|
# | on the top map | e-ASPP, 835,200 weights | squeeze-and-excite, 819,200 |
# | rest of S | nothing ("only an encoder") | two $5 \times 5$ convolutions up to 1/8 |
# | $s_p$ | convolution on $S(I)$ | stride-2 convolution on the 1/8 map |
# | D | 12 convolutions, to 1/4 at once | 13 convolutions, to 1/4 in two steps |
# | F | sees $S(I)$ and $D(I, S(I))$ | sees the image again |
# | normalisation | not mentioned (ours: batch norm) | half batch, half instance norm |
# | $\lambda_s, \lambda_d, \lambda_\alpha$ | 1, 10, 1 | 10, 10, 1 |

# %% tags=["nbval-check-output"]
released = MODNet(variant="released").eval()
network.eval()
for name, net in (("paper", network), ("released", released)):
    weights, gflops = cost.count_parameters(net), cost.count_flops(net, picture) / 1e9
    print(f"{name:9}{weights:>10,} parameters, {gflops:.2f} GFLOPs at 512 x 512")
    record(f"{name}_parameters", weights)
    record(f"{name}_gflops", gflops, unit="GFLOPs")

other = MODNet(backbone="resnet18")  # any timm model with maps at 1/2 to 1/32, untrained, no download
print(other.semantic_branch.backbone.channels, f"{cost.count_parameters(other):,} parameters")

# %% [markdown]
# The paper's design needs about half the weights and half the work of the released one. The last line is the paper's
# "arbitrary CNN backbone": a name is enough.
#
# ### What the paper leaves open, and what we chose
#
# | open | our choice |
# |---|---|
# | dilation rates of e-ASPP | 1, 2, 3, 5, 7 (section 2) |
# | $s_p$ at 1/16 from a map at 1/32 | project to one channel, double bilinearly |
# | which low-level features enter D | the maps at 1/4, 1/8, 1/16 at 1/4; the map at 1/2 in layer 11 |
# | where $S(I)$ enters D | beside them, projected to 64 channels |
# | the blur in $G$ | area mean, then $3 \times 3$ Gaussian with $\sigma = 0.8$ |
# | norms in the losses | means over all pixels |
# | how a trimap enters ("trimap-based MODNet") | as a fourth input channel |
#
# The paper's tables cannot tell which choices the authors made. Our numbers are ours.
#
# ## 9. The inspector
#
# The trained network on the portrait of section 4, first as a figure. With a running kernel the second cell gives
# controls: step from `semantic` to `alpha` at the same zoom, and see where the detail comes in.

# %%
matter = Matter(trained, device=profile.device)
show_prediction(matter.predict(image))

# %%
MatteInspector(matter, {"drawn portrait": image}, truths={"drawn portrait": true})

# %% [markdown]
# ## 10. Results

# %%
ResultsTable("02_building_modnet", profile.name)

# %% [markdown]
# ## Summary
#
# - S looks widely on small maps, D closely on large ones, F joins them. Each has a target made from $\alpha_g$.
# - e-ASPP splits, switches and compresses: 81,920,000 weights become 835,200, a ratio of $0.01 + 1/(4c)$.
# - A dilation of at least the map's side leaves one living tap of nine. Ours stay below 8.
# - Projecting before enlarging is the same function and saves the memory.
# - $\mathcal{L}_d$ and $\mathcal{L}_\alpha$ train S as well. That is what "interdependent" means.
#
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("02.1", ...)
# ```
#
# 1. Which reduction would bring e-ASPP at $c = 1280$ below half a per cent of ASPP? Derive it, then check with
#    `cost.parameter_ratio`.
#
# <details><summary>Answer</summary>
#
# With reduction $r$ the ratio is $(2c^2 + 50c) / (50 r c^2) = (0.04 + 1/c)/r$, so $r = 8$ gives 0.0051 and $r = 10$ gives
# 0.0041. The first $r$ that divides 1280 and is large enough is 10.
#
# ```python
# check_answer("02.1", next(r for r in range(1, 1281) if 1280 % r == 0 and (0.04 + 1 / 1280) / r < 0.005))
# ```
#
# </details>
#
# 2. How would you test whether D needs its skip link, not only whether the trained D uses it?
#
# <details><summary>Answer</summary>
#
# Train twice from the same seed, once with the image's inputs to layers 11 and 12 fixed at zero, with several seeds
# each, and compare the error inside $m_d$. Notebook [04](04_ablation_study.ipynb) does such ablations.
#
# </details>
#
# 3. In section 7 the head of S gets no gradient from the matte loss. What would change if F read $s_p$ instead
#    of $S(I)$?
#
# <details><summary>Answer</summary>
#
# The matte loss would flow through the head of S, and F would know one number per cell instead of 1280. The head could
# then not be skipped in use.
#
# </details>
#
# ## References
#
# - Z. Ke et al. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.* AAAI 2022.
# - M. Sandler et al. *MobileNetV2: Inverted Residuals and Linear Bottlenecks.* CVPR 2018.
# - L.-C. Chen et al. *DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
#   Connected CRFs.* PAMI 40(4), 2017.
# - N. Xu et al. *Deep Image Matting.* CVPR 2017 (the compositional loss).
#
# **Next:** [03 Training](03_training.ipynb)
