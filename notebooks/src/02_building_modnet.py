# %% [markdown]
# # 02 Building MODNet: why three branches, and what does e-ASPP save?
#
# In this notebook you write the whole network of the paper, one layer after another, and then load trained weights into
# what you have written. Each part is first worked out by hand on a few numbers, then measured, then compared with the
# library's version.
#
# ## You will be able to
#
# - write e-ASPP and the branches S, D and F as short PyTorch modules, and predict the shape of every map;
# - turn [ASPP into e-ASPP](GLOSSARY.md#aspp-e-aspp) in three steps, and count what each step saves (Eq. 9–16);
# - compute the three losses by hand, and say which part of the network each of them trains (Eq. 2–5);
# - load trained weights into a network of your own, and prove that it gives the same matte;
# - say what the paper specifies and what it leaves open.
#
# ## Contents
#
# 1. [Three questions, three branches: Fig. 2](#1.-Three-questions,-three-branches:-Fig.-2)
# 2. [S: where is the person?](#2.-S:-where-is-the-person?)
# 3. [From ASPP to e-ASPP: Fig. 3, Eq. 9–16](#3.-From-ASPP-to-e-ASPP:-Fig.-3,-Eq.-9–16)
# 4. [D: what does the border look like?](#4.-D:-what-does-the-border-look-like?)
# 5. [F: both together](#5.-F:-both-together)
# 6. [Objectives: Eq. 2–5](#6.-Objectives:-Eq.-2–5)
# 7. [Which loss trains which branch?](#7.-Which-loss-trains-which-branch?)
# 8. [The paper's network and the released one](#8.-The-paper's-network-and-the-released-one)
# 9. [Results](#9.-Results)
#
# ## Needs
#
# Convolutions and PyTorch; [notebook 00](00_start_here.ipynb) for the words *matte* and *Eq. 1*, and [notebook
# 01](01_dataset_compositing.ipynb) for trimaps. No data. Reading takes about 42 minutes.
# The smoke profile takes about 25 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import torch
from IPython.display import Markdown
from safetensors.torch import load_file
from torch import nn
from torchvision.models import mobilenet_v2

from modnet_lib import images, inference, paths, profiles
from modnet_lib.data import assemble, sets, trimaps
from modnet_lib.network import MattingOutput, MODNet, cost, load_checkpoint
from modnet_lib.notebook import figures, inspector, portraits, results
from modnet_lib.objectives import supervised

# %% [markdown]
# ## 1. Three questions, three branches: Fig. 2
#
# > "Given an input image $I$, MODNet predicts portrait semantics $s_p$, boundary details $d_p$, and final alpha
# > matte $\alpha_p$ through three interdependent branches, $S$, $D$, and $F$, which are constrained by explicit
# > supervisions generated from the ground truth matte $\alpha_g$." *(Fig. 2)*
#
# One network could go from image to matte in a single pass. But finding the person needs a wide view of a small map,
# and drawing a hair needs a narrow view of a large map. MODNet therefore asks three questions, and gives each its own
# branch, its own output and its own target.
#
# ![Fig. 2, the architecture of MODNet. S halves the image five times and ends with e-ASPP on 1280 maps of 16 by 16. D works at a quarter of the size with at most 64 channels, takes the low-level features of S and S(I), and restores the full size. F joins S(I) and D(I, S(I)) to the matte. Each branch has a loss of its own.](figures/fig2.svg)
#
# The next figure shows the goal: the three answers of the trained network. The backbone halves its input five times, so
# both sides of a photograph must be multiples of $2^5 = 32$. The short side becomes 384 pixels, the size that the
# checkpoint was mostly trained at.

# %%
profile, photos = profiles.Profile.load(PROFILE), {}
for name, photo in portraits.portraits(profile.data).items():
    scale = 384 / min(photo.shape[:2])
    height, width = (32 * round(side * scale / 32) for side in photo.shape[:2])
    photos[name] = images.cover(photo, height, width)
    print(f"{name}: {photo.shape[1]} x {photo.shape[0]} becomes {width} x {height}")
_ = torch.manual_seed(profile.seed)
figures.use_style()
hopper, astronaut, *_ = photos.values()
matter = inference.Matter.from_pretrained(device="cpu", backend="eager", short_side=384)
goal = matter.predict(astronaut)
figures.image_row(
    [astronaut, goal.semantic, goal.detail, goal.alpha],
    ["image $I$", "S: where? $s_p$", "D: what border? $d_p$", "F: the matte $\\alpha_p$"],
    caption="$s_p$ is small and coarse. $d_p$ is sharp, and unreliable away from the outline, where nothing trains it.",
)

# %% [markdown]
# **Predict.** Which branch holds most of the weights? Which one does most of the work, counted in multiplications and
# additions? Keep your guesses: section 5 counts both.
#
# ## 2. S: where is the person?
#
# > "The difference is that we extract high-level semantics only through an encoder, *i.e.*, the low-resolution
# > branch $S$ of MODNet. [...] An arbitrary CNN backbone can be applied to $S$." *(Semantic Estimation)*
#
# The paper's [backbone](GLOSSARY.md#backbone) is MobileNetV2, which torchvision has. **Predict**: it has 19 blocks, and
# five of them halve the map. Are most of the blocks before the third halving or after it?

# %% tags=["nbval-check-output"]
x = torch.rand(1, 3, 512, 512)
with torch.no_grad():
    for index, layer in enumerate(mobilenet_v2(weights=None).features.eval()):
        before, x = x.shape[-1], layer(x)
        note = f"half of {before}" if x.shape[-1] < before else ""
        print(f"block {index:2}: {x.shape[1]:4} channels, {x.shape[2]:3} x {x.shape[3]:3}  {note}")

# %% [markdown]
# After it: blocks 0, 2 and 4 halve the map, and 14 blocks follow. D will need maps of every size, so our first module
# keeps the last map of each size. These five maps are the *feature pyramid*.
#
# Is the result the library's backbone? The test is the same throughout: give both the same trained weights and the same
# input, and compare the outputs. `load_state_dict` is strict, so the names and shapes of all weights must agree as
# well.


# %%
class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = mobilenet_v2(weights=None).features

    def forward(self, x):
        maps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in (1, 3, 6, 13, 18):  # the last block of each size
                maps.append(x)
        return maps


# %% tags=["nbval-check-output"]
library = load_checkpoint(paths.PRETRAINED)  # the reference, with trained weights
pyramid = Pyramid().eval()
print(pyramid.load_state_dict(library.semantic_branch.backbone.state_dict()))
picture = images.to_tensor(astronaut) * 2 - 1  # the network's input lies in [-1, 1]
with torch.no_grad():
    ours, theirs = pyramid(picture), library.semantic_branch.backbone(picture)
torch.testing.assert_close(ours, theirs)
print("from", tuple(picture.shape), "to", *(tuple(features.shape[1:]) for features in ours))

# %% [markdown]
# The last map becomes $S(I)$, after one more module, which section 3 builds. For 384 pixels it has $12 \times 12$
# cells, each of which stands for $32 \times 32$ pixels: enough to say *there is a person here*, too coarse for hair.
#
# ### Why S needs context
#
# > "Semantic masks predicted by MobileNetV2 may have holes in some challenging foregrounds or backgrounds. Many prior
# > works showed that ASPP was a feasible solution for improving such erroneous semantics." *(Efficient ASPP)*
#
# A hole can appear when a cell decides mostly from what lies near it. The middle of a plain coat looks like a plain
# wall; cells further away show the collar and the sleeves. *Atrous spatial pyramid pooling* (ASPP) lets a cell look
# there. It applies several $3 \times 3$ convolutions whose nine taps lie $r$ cells apart, one convolution for each
# [dilation rate](GLOSSARY.md#dilation-rate) $r$. Taps outside the map read zero.
#
# **Predict** the middle and the top left value of the result for $r = 2$, if the cells hold 0 to 24 row by row and all
# nine weights are 1.

# %% tags=["nbval-check-output"]
cells = torch.arange(25.0).reshape(1, 1, 5, 5)
result = nn.functional.conv2d(cells, torch.ones(1, 1, 3, 3), padding=2, dilation=2)
print(cells[0, 0].int(), result[0, 0].int(), sep="\n")

# %% [markdown]
# In the middle: $0 + 2 + 4 + 10 + 12 + 14 + 20 + 22 + 24 = 108$. In the corner four taps are inside:
# $0 + 2 + 10 + 12 = 24$.
#
# ### Which rates make sense?
#
# The paper names no rates. Rates of 6, 12 and 18 are common elsewhere, on larger maps; ours are 1, 2, 3, 5 and 7. The
# next function colours the cells that one cell of a map can use, with one colour for each rate.
#
# **Predict** how many cells five rates reach if all their taps are inside the map. How many do rates 6, 12 and 18 reach
# from the middle of a $16 \times 16$ map?
#
# Each of the nine taps has a weight to learn. **Predict** how many of the nine weights of rate 8 get a gradient on a
# $16 \times 16$ map, and how many on the $8 \times 8$ map of a 256-pixel picture.


# %%
def field(rates, side, row, column):
    colours = torch.tensor([[0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0], [204, 121, 167]]) / 255
    picture = torch.full((3, side, side), 0.92)
    for rate, colour in zip(rates, colours, strict=False):
        for y in (row - rate, row, row + rate):
            for x in (column - rate, column, column + rate):
                if 0 <= y < side and 0 <= x < side:
                    picture[:, y, x] = colour
    picture[:, row, column] = 0.1
    return picture


# %% tags=["nbval-check-output"]
RATES = (1, 2, 3, 5, 7)
fields = [field(RATES, 16, 8, 8), field(RATES, 8, 4, 4), field((6, 12, 18), 16, 8, 8)]
counts = [int((part != 0.92).any(dim=0).sum()) for part in fields]
print("cells in use:", *counts)
names = ["our rates, 512 pixels", "our rates, 256 pixels", "rates 6, 12, 18, 512 pixels"]
titles = [f"{name}: {count} cells" for name, count in zip(names, counts, strict=True)]
figures.image_row(fields, titles, caption="Black: the cell itself. Each colour is one rate.", height=3)

# %% tags=["nbval-check-output"]
for rate, size in ((7, 16), (8, 16), (16, 16), (7, 8), (8, 8)):
    layer = nn.Conv2d(1, 1, 3, padding=rate, dilation=rate, bias=False)
    layer(torch.ones(1, 1, size, size)).sum().backward()
    print(f"rate {rate:2} on {size:2} x {size:2}: {int((layer.weight.grad > 0).sum())} of 9 taps get a gradient")


# %% [markdown]
# Five rates have $5 \cdot 8$ outer taps and share the middle one: 41 cells, dense near the cell and nearly as wide as
# the map. Rates 12 and 18 reach only the cell itself from the middle. If a map is $n$ cells wide, an outer tap with
# $r \ge n$ lies outside from *every* cell: it multiplies zeros only, so its weight never learns. Nothing warns you:
# training runs, with fewer working weights than the module has. Small runs of this series train at 256 pixels, so our
# rates stay below 8. In a running notebook, draw `field((6, 12, 18), 8, 0, 0)`: which taps does a corner
# cell reach?
#
# ## 3. From ASPP to e-ASPP: Fig. 3, Eq. 9–16
#
# > $$\mathcal{P} = C_{out} \times C_{in} \times K \times K \quad (9) \qquad
# > \mathcal{O} = C_{in} \times 2 \times K \times K \times H_{out} \times W_{out} \times C_{out} \quad (10)$$
# >
# > *Appendix A*
#
# Eq. 9 counts weights. Eq. 10 counts [FLOPs](GLOSSARY.md#flop): each weight is used twice, for a multiplication and an
# addition, at each place of the output. By hand, for $3 \times 3$, 2 channels in, 3 out, on a $4 \times 4$ map:
# $3 \cdot 2 \cdot 9 = 54$ weights and $2 \cdot 2 \cdot 9 \cdot 16 \cdot 3 = 1{,}728$ FLOPs.
#
# ### Step 0: standard ASPP
#
# > $$\begin{aligned} \mathcal{P}_{ASPP} &= m \times (c \times c \times k \times k) + c \times (m \times c) \times 1 \times 1
# > = m \times c^2 \times (k^2 + 1) & (11) \\
# > \mathcal{O}_{ASPP} &= m \times (c \times 2 \times k \times k \times h \times w \times c)
# > + (m \times c) \times 2 \times 1 \times 1 \times h \times w \times c \\
# > &= ((2 \times k^2 + 2) \times m \times c) \times (h \times w \times c) & (12) \end{aligned}$$
#
# $m$ atrous convolutions see the same map side by side; a point-wise ($1 \times 1$) convolution joins their results.
# MobileNetV2 ends with $c = 1280$ channels. With $k = 3$ and $m = 5$ that makes
# $5 \cdot 1280^2 \cdot 10 = 81{,}920{,}000$ weights.
#
# All modules below consist of the same block: convolution, batch norm, ReLU. The norm has its own shift, so the
# convolution needs no bias. Appendix A counts convolutions only, and so do we.


# %% tags=["nbval-check-output"]
def block(inputs, outputs, k=1, stride=1, rate=1, groups=1):
    padding = rate * (k - 1) // 2  # keeps the size at stride 1
    convolution = nn.Conv2d(inputs, outputs, k, stride, padding, rate, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class StandardASPP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.scales = nn.ModuleList(block(c, c, 3, rate=rate) for rate in RATES)
        self.fuse = block(len(RATES) * c, c)

    def forward(self, x):
        return self.fuse(torch.cat([scale(x) for scale in self.scales], dim=1))


tiny = block(2, 3, 3)
assert (cost.convolution_parameters(3, 2, 3), cost.convolution_flops(3, 2, 3, 4, 4)) == (54, 1728)
print(f"Eq. 9: {tiny[0].weight.numel()} weights, Eq. 10: {cost.count_flops(tiny, torch.rand(1, 2, 4, 4)):,} FLOPs")

# %% [markdown]
# **Predict.** The next three steps split each convolution, switch the order of the two fusions, and compress the
# channels. Which step reduces the weights by the largest factor?
#
# ### Step 1: split
#
# > "First, we split each atrous convolution into a depth-wise atrous convolution and a point-wise convolution."
# > *(Efficient ASPP)*
#
# A depth-wise convolution treats each channel alone, with $k^2$ weights for each. The point-wise one then mixes
# channels, with $c^2$. Weights: $m (c k^2 + c^2) + m c^2$. What is lost? A full convolution has a $3 \times 3$ pattern
# of its own for every pair of channels. Now all outputs share one pattern $d_i$ for each input channel $i$, scaled by a
# number: $W_{oi} = p_{oi}\, d_i$. Check it with 2 channels in and 3 out. (The modules put a norm and a ReLU between the
# two, which changes no count.)

# %%
p, d, x = torch.rand(3, 2), torch.rand(2, 3, 3), torch.rand(1, 2, 4, 4)
depthwise = nn.functional.conv2d(x, d[:, None], padding=1, groups=2)
split = nn.functional.conv2d(depthwise, p[:, :, None, None])
full = nn.functional.conv2d(x, p[:, :, None, None] * d, padding=1)
torch.testing.assert_close(split, full)
print(f"{d.numel()} + {p.numel()} weights instead of {(p[:, :, None, None] * d).numel()}")
print(f"largest difference {(split - full).abs().max():.0e}, of values up to {full.max():.1f}")


class SplitASPP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.look = nn.ModuleList(block(c, c, 3, rate=rate, groups=c) for rate in RATES)
        self.mix = nn.ModuleList(block(c, c) for rate in RATES)
        self.fuse = block(len(RATES) * c, c)

    def forward(self, x):
        scales = [mix(look(x)) for look, mix in zip(self.look, self.mix, strict=True)]
        return self.fuse(torch.cat(scales, dim=1))


# %% [markdown]
# ### Step 2: switch the order
#
# > "Second, we switch the order of inter-channel fusion and the multi-scale feature fusion. In this way, (1) only one
# > inter-channel fusion is required, and (2) the multi-scale feature fusion is converted to a cheaper depth-wise
# > operation."
#
# Five point-wise convolutions and a wide one hold nearly all remaining weights. Fuse the *scales* first: for each
# channel, a weighted sum of its own five versions, $m$ weights. Then mix the *channels* once, with $c^2$.
# Weights: $m c k^2 + m c + c^2$.
#
# A grouped convolution does the weighted sum, but group $j$ takes $m$ *consecutive* channels. So the five versions of
# channel $j$ must lie side by side. With 2 channels (tens) and 3 scales (units):

# %% tags=["nbval-check-output"]
scales = [torch.tensor([10, 20]).reshape(1, 2, 1, 1) + scale for scale in (1, 2, 3)]
print("cat:  ", torch.cat(scales, dim=1).flatten().tolist(), "- group 1 gets 11, 21, 12: two channels mixed")
print("stack:", torch.stack(scales, dim=2).flatten(1, 2).flatten().tolist(), "- group 1 gets 11, 12, 13")


class SwitchedASPP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.scales = nn.ModuleList(block(c, c, 3, rate=rate, groups=c) for rate in RATES)
        self.fuse_scales = block(len(RATES) * c, c, groups=c)
        self.fuse_channels = block(c, c)

    def forward(self, x):
        x = torch.stack([scale(x) for scale in self.scales], dim=2).flatten(1, 2)
        return self.fuse_channels(self.fuse_scales(x))


# %% [markdown]
# ### Step 3: compress
#
# > "Third, we compress the number of input channels by $4 \times$ for e-ASPP and recover it before the output."
# >
# > $$\begin{aligned} \mathcal{P}_{e\text{-}ASPP} &= \tfrac{c}{4} \times c \times 1 \times 1
# > + \tfrac{c}{4} \times m \times (1 \times 1 \times k \times k) + \tfrac{c}{4} \times (1 \times m \times 1 \times 1)
# > + c \times \tfrac{c}{4} \times 1 \times 1 \\
# > &= \frac{2 \times c^2 + (k^2 + 1) \times m \times c}{4} & (13) \\
# > \mathcal{O}_{e\text{-}ASPP} &= c \times 2 \times h \times w \times \tfrac{c}{4}
# > + \tfrac{c}{4} \times m \times (2 \times k \times k \times h \times w)
# > + \tfrac{c}{4} \times (m \times 2 \times h \times w) + \tfrac{c}{4} \times 2 \times h \times w \times c \\
# > &= (c + \frac{(k^2 + 1) \times m}{2}) \times (h \times w \times c) & (14) \end{aligned}$$
#
# The four terms are the four operations of Fig. 3: reduce the channels, look at $m$ scales, fuse the scales, fuse the
# channels. (In Eq. 14 we leave out factors of 1.) By hand:
# $(2 \cdot 1{,}638{,}400 + 10 \cdot 5 \cdot 1280) / 4 = (3{,}276{,}800 + 64{,}000) / 4 = 835{,}200$ weights.
#
# The formulas for all steps follow below, and are compared with the count of what we built. The device `meta` builds a
# module with shapes but without numbers, which is all that counting needs.
#
# ![Fig. 3, e-ASPP in four steps: 1280 channels are reduced to 320, filtered by five depth-wise 3 by 3 convolutions with the rates 1, 2, 3, 5 and 7, fused channel by channel over the five scales, and brought back to 1280 channels; 835,200 weights in all.](figures/fig3.svg)


# %%
class EASPP(SwitchedASPP):
    def __init__(self, c):
        super().__init__(c // 4)
        self.reduce = block(c, c // 4)
        self.fuse_channels = block(c // 4, c)  # mixes the channels and recovers their number

    def forward(self, x):
        return super().forward(self.reduce(x))


# %%
easpp, x = EASPP(1280).eval(), torch.rand(1, 1280, 12, 12)
easpp.load_state_dict(library.semantic_branch.context.state_dict())
with torch.no_grad():
    steps = [x, easpp.reduce(x), easpp.scales[0](easpp.reduce(x)), easpp(x)]
    gap = float((steps[-1] - library.semantic_branch.context(x)).abs().max())
print("x, reduced, one scale, result:", *(tuple(step.shape[1:]) for step in steps))
print(f"EASPP against the library's EfficientASPP: largest difference {gap:.0e}, 1e-05 allowed")
assert gap <= 1e-5

# %% tags=["nbval-check-output"]
c, k, m, h, w = 1280, 3, 5, 16, 16  # S(I) of a picture of 512 x 512
formulas = {  # weights and FLOPs
    "0 ASPP": (m * c**2 * (k**2 + 1), (2 * k**2 + 2) * m * c * (h * w * c)),  # Eq. 11 and 12
    "1 split": (m * (c * k**2 + c**2) + m * c**2, 2 * h * w * (m * (c * k**2 + c**2) + m * c**2)),
    "2 switched": (m * c * k**2 + m * c + c**2, 2 * h * w * (m * c * k**2 + m * c + c**2)),
    "3 e-ASPP": ((2 * c**2 + (k**2 + 1) * m * c) // 4, (2 * c + (k**2 + 1) * m) * (h * w * c) // 2),  # Eq. 13 and 14
}
with torch.device("meta"):
    top, modules = torch.rand(1, c, h, w), [StandardASPP(c), SplitASPP(c), SwitchedASPP(c), EASPP(c)]
measured = [(cost.count_parameters(x, nn.Conv2d), cost.count_flops(x, top)) for x in modules]
assert measured == [*formulas.values()]
assert formulas["0 ASPP"] == (cost.aspp_parameters(c), cost.aspp_flops(c, h, w))
assert formulas["2 switched"][0] == cost.easpp_parameters(c, reduction=1)
assert formulas["3 e-ASPP"] == (cost.easpp_parameters(c), cost.easpp_flops(c, h, w))
rows = ["| step | weights | share of ASPP | GFLOPs on 16 × 16 |", "|---|--:|--:|--:|"]
for name, (weights, flops) in formulas.items():
    rows.append(f"| {name} | {weights:,} | {100 * weights / measured[0][0]:.2f} % | {flops / 1e9:.2f} |")
Markdown("\n".join(rows))

# %% [markdown]
# Our formulas, the library's and the count agree to the last weight and the last FLOP. Switching saves most, nearly a
# factor of ten. The switched module, without compression, is the variant with 2 % in Appendix A; in the library it is
# `EfficientASPP(c, reduction=1)`.
#
# ### One per cent?
#
# > $$\frac{\mathcal{P}_{e\text{-}ASPP}}{\mathcal{P}_{ASPP}} \approx 0.01 \quad (15) \qquad
# > \frac{\mathcal{O}_{e\text{-}ASPP}}{\mathcal{O}_{ASPP}} \approx 0.01 \quad (16)$$
#
# Divide Eq. 13 by Eq. 11 for $k = 3$, $m = 5$: $(2c^2 + 50c) / (4 \cdot 50 c^2) = 0.01 + 1/(4c)$. Divide Eq. 14 by Eq.
# 12: $(c + 25)/(100 c)$, the same, since every weight of both modules is used at every place of the map. So 0.01 is the
# limit for many channels. The paper says that "usually, $c \ge 256$ is applied". **Predict** without a calculator:
# above which $c$ is the ratio below 0.011?

# %% tags=["nbval-check-output"]
for width in (64, 248, 256, 1280):
    formula, eq15, eq16 = 0.01 + 1 / (4 * width), float(cost.parameter_ratio(width)), float(cost.flop_ratio(width))
    print(f"c = {width:4}: 0.01 + 1/(4c) = {formula:.6f}, Eq. 15 {eq15:.6f}, Eq. 16 {eq16:.6f}")
results.record("easpp_weights", measured[3][0], paper=835_200)
results.record("easpp_weight_ratio", measured[3][0] / measured[0][0], paper=0.01)
results.record("easpp_flop_ratio", measured[3][1] / measured[0][1], paper=0.01)
results.record("uncompressed_weight_ratio", measured[2][0] / measured[0][0], paper=0.02)

# %% [markdown]
# Above 250, where $1/(4c) < 0.001$. Whether a hundredth of the FLOPs takes a hundredth of the time is
# another question; [notebook 06](06_baselines_and_efficiency.ipynb) measures methods with a clock.
#
# ### S, assembled
#
# Eq. 2 asks for $s_p$ at 1/16 of the picture, and $S(I)$ is at 1/32. The paper does not say how the one becomes the
# other. Our head reduces $S(I)$ to one channel with a $1 \times 1$ convolution and doubles it bilinearly.


# %%
def enlarge(x, scale):
    return nn.functional.interpolate(x, scale_factor=scale, mode="bilinear")


class S(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.context = Pyramid(), EASPP(1280)
        self.head = nn.Conv2d(1280, 1, 1)

    def forward(self, image):
        *low, top = self.backbone(image)
        top = self.context(top)  # S(I)
        s_p = torch.sigmoid(enlarge(self.head(top), 2))
        return low, top, s_p


# %%
semantic = S().eval()
semantic.load_state_dict(library.semantic_branch.state_dict())
with torch.no_grad():
    (low, top, s_p), (*_, other) = semantic(picture), semantic(images.to_tensor(hopper) * 2 - 1)
    gap = float((s_p - library.semantic_branch(picture, auxiliary=True)[2]).abs().max())
assert gap <= 1e-5
print(f"S(I) {tuple(top.shape)}, s_p {tuple(s_p.shape)}; largest difference {gap:.0e}, 1e-05 allowed")
figures.image_row([astronaut, s_p, hopper, other], ["image", "your $s_p$"] * 2)

# %% [markdown]
# Your module, with trained weights, finds the person and nothing finer. It has no holes here, but it also turns grey
# where there is no person, at the astronaut's helmet. F reads the same $S(I)$, so compare such places with the matte in
# section 5.
#
# ## 4. D: what does the border look like?
#
# > "In practice, $D$ consists of 12 convolutional layers, and its maximum channel number is 64. The resolution of the
# > feature maps is reduced to 1/4 of $I$ in the first layer and restored in the last two layers. The impact of the
# > downsampling operation on $D$ is negligible since it contains a skip link." *(Detail Prediction)*
#
# **Predict.** A hair one pixel wide, of value 1, is averaged down to 1/4 and enlarged again. What is its largest value
# then?

# %% tags=["nbval-check-output"]
hair = torch.zeros(1, 1, 16, 16)
hair[..., 6] = 1
back = enlarge(nn.functional.avg_pool2d(hair, 4), 4)
print("a row before:", hair[0, 0, 8].int().tolist())
print("and after:   ", [round(value, 2) for value in back[0, 0, 8].tolist()])

# %% [markdown]
# Less than a quarter, and spread over eight pixels. The *skip link* brings the image itself past the reduction, to the
# last two layers. The twelve layers, with our choices where the paper leaves them open:
#
# | layer | what | size |
# |---|---|---|
# | 1 | image to 64 channels, stride 4 | 1/4 |
# | 2–5 | low-level maps of S at 1/4, 1/8, 1/16, and $S(I)$, to 64 channels each, enlarged and added | 1/4 |
# | 6–10 | five convolutions, the last to 32 channels | 1/4 |
# | 11 | with the map of S at 1/2 and the image at 1/2, to 16 channels | 1/2 |
# | 12 | with the image, to 16 channels: this is $D(I, S(I))$ | 1/1 |
#
# A thirteenth, point-wise convolution turns the result into $d_p$ for the loss. Nothing else needs it, so it is skipped
# after training.
#
# We first test D against the library. Then comes an experiment on the skip link, on a drawn person, whose matte is
# known exactly. We set to zero the weights of everything that enters layers 11 and 12 from the side: the image, twice,
# and the map of S at 1/2. **Predict** what $d_p$ will look like.


# %%
class D(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce = block(3, 64, 7, stride=4)  # 1
        self.lateral = nn.ModuleList(block(c, 64) for c in (24, 32, 96, 1280))  # 2-5
        self.process = nn.Sequential(*(block(64, 64, 3) for _ in range(4)), block(64, 32, 3))  # 6-10
        self.restore2 = block(32 + 16 + 3, 16, 3)  # 11
        self.restore1 = block(16 + 3, 16, 3)  # 12
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, image, low, top):
        x = self.reduce(image)
        for level, lateral in enumerate(self.lateral):  # maps at 1/4, 1/8, 1/16 and 1/32
            x = x + enlarge(lateral([*low[1:], top][level]), 2**level)
        x = enlarge(self.process(x), 2)
        x = self.restore2(torch.cat((x, low[0], nn.functional.avg_pool2d(image, 2)), dim=1))
        x = self.restore1(torch.cat((enlarge(x, 2), image), dim=1))
        return x, torch.sigmoid(self.head(x))


# %%
detail = D().eval()
detail.load_state_dict(library.detail_branch.state_dict())
with torch.no_grad():
    features, d_p = detail(picture, low, top)
    gap = float((d_p - library(images.to_tensor(astronaut), auxiliary=True).detail).abs().max())
assert gap <= 1e-5
print(f"D(I, S(I)) {tuple(features.shape)}, d_p {tuple(d_p.shape)}; largest difference {gap:.0e}, 1e-05 allowed")

# %%
cut, drawn = load_checkpoint(paths.PRETRAINED), sets.drawn_people(7, "validation").readers[6]()
cut.detail_branch.restore2[0].weight.data[:, 32:] = 0
cut.detail_branch.restore1[0].weight.data[:, 16:] = 0
with torch.no_grad():
    details = [net(images.to_tensor(drawn.image), auxiliary=True).detail[0, 0] for net in (library, cut)]
shown = [part[figures.finest(drawn.alpha, 128)] for part in (drawn.image, drawn.alpha, *details)]
figures.image_row(shown, ["image, enlarged", "true matte", "$d_p$", "$d_p$ without the skip link"])

# %% [markdown]
# With the link, the outline of $d_p$ is ragged, though most single strands of the true matte are missing. Without it,
# the outline is smooth and blurred. This shows that *these* weights use the link. A D that was trained without it might
# do better. How would you find out (exercise 4)?
#
# ## 5. F: both together
#
# > "We first upsample $S(I)$ to match its size with $D(I, S(I))$. We then concatenate $S(I)$ and $D(I, S(I))$ to predict
# > the final alpha matte $\alpha_p$." *(Semantic-Detail Fusion)*
#
# **Predict.** Taken literally, $S(I)$ becomes a map of 1280 channels at $512 \times 512$. How much memory is that in
# float32?
#
# <details><summary>Answer</summary>
#
# $1280 \cdot 512 \cdot 512 \cdot 4$ bytes $= 1.34$ GB for one picture.
#
# </details>
#
# Our F first projects $S(I)$ to 16 channels with a $1 \times 1$ convolution, and enlarges the result. Enlarging mixes
# *places*, with weights that sum to one; the $1 \times 1$ convolution mixes *channels*. Both are linear, so the
# order should not matter, not even for the bias. Does it? After this test come F, the whole network $M$ and the answer
# to the question of section 1.

# %%
project, tall = nn.Conv2d(1280, 16, 1), torch.rand(1, 1280, 4, 4)
with torch.no_grad():
    enlarged_first, projected_first = project(enlarge(tall, 32)), enlarge(project(tall), 32)
torch.testing.assert_close(enlarged_first, projected_first, atol=1e-5, rtol=0)
print(f"largest difference {(enlarged_first - projected_first).abs().max():.0e}, 1e-05 allowed")
print(f"numbers in the enlarged map: {1280 * 128**2:,} without the projection, {16 * 128**2:,} with it")


# %%
class F(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(1280, 16, 1)
        self.fuse = block(16 + 16, 16, 3)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, top, detail):
        top = enlarge(self.project(top), 32)
        return torch.sigmoid(self.head(self.fuse(torch.cat((detail, top), dim=1))))


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.S, self.D, self.F = S(), D(), F()

    def forward(self, image):
        low, top, s_p = self.S(image * 2 - 1)
        detail, d_p = self.D(image * 2 - 1, low, top)
        return s_p, d_p, self.F(top, detail)


# %% tags=["nbval-check-output"]
with torch.device("meta"):
    counted, x = M(), torch.rand(1, 3, 512, 512)
low, top, _ = counted.S(x)
given = {"S": (x,), "D": (x, low, top), "F": (top, counted.D(x, low, top)[0])}
rows = ["| | weights | GFLOPs at 512 × 512 |", "|---|--:|--:|"]
for name, branch in [*counted.named_children(), ("M", counted)]:
    flops = cost.count_flops(branch, *given.get(name, (x,)))
    rows.append(f"| {name} | {cost.count_parameters(branch):,} | {flops / 1e9:.2f} |")
Markdown("\n".join(rows))

# %% [markdown]
# S holds nine tenths of the weights, but D and F do three quarters of the work: a weight of F's last convolutions is
# used at each of 262,144 pixels, a weight of e-ASPP at 256 cells. With ASPP instead of e-ASPP, S would need 81 million
# more weights and 42 more GFLOPs, about three times the work of the whole network.
#
# ### The trained weights
#
# The checkpoint is a dictionary of named tensors. The library calls the branches by longer names; nothing else differs.

# %%
modnet, state = M().eval(), {}
names = {"semantic_branch": "S", "detail_branch": "D", "fusion_branch": "F"}
for key, value in load_file(paths.PRETRAINED).items():
    branch, _, rest = key.partition(".")
    state[f"{names[branch]}.{rest}"] = value.float()  # the file stores float16
print(len(state), "tensors:", modnet.load_state_dict(state))
mattes = {}
for name, photo in photos.items():
    with torch.no_grad():
        mattes[name] = modnet(images.to_tensor(photo))[2][0, 0]
        others = torch.tensor(matter.alpha(photo)), library(images.to_tensor(photo)).alpha[0, 0]
    gaps = [float((mattes[name] - other).abs().max()) for other in others]
    print(f"{name}: differs by {gaps[0]:.0e} from Matter, {gaps[1]:.0e} from load_checkpoint; 1e-05 allowed")
    assert max(gaps) <= 1e-5

# %%
of_hopper, matte, *_ = mattes.values()
views = [astronaut, matte, figures.checkerboard(astronaut, matte)]
rows, columns = (matte > 0.5).nonzero(as_tuple=True)
top, left = max(0, int(rows.min()) - 10), max(0, int(columns[rows < rows.min() + 60].float().mean()) - 75)
shown = [*views, *(view[top : top + 150, left : left + 150] for view in views)]
shown += [hopper, of_hopper, figures.checkerboard(hopper, of_hopper)]
titles = [f"{what}{how}" for how in ("", ", enlarged", "") for what in ("image", "your matte", "cut-out")]
figures.image_row(shown, titles, columns=3)

# %%
models = {"MODNet": matter, "skip link cut": inference.Matter(cut, short_side=384, device="cpu")}
inspector.MatteInspector(models, photos)

# %% [markdown]
# Fewer than 90 lines give the same matte as the library. This is the whole network of the paper. The matte has
# mistakes: the helmet, the flag, the badge on the cap. These are mistakes of the trained weights. [Notebook
# 01](01_dataset_compositing.ipynb) is about the training data, [03](03_training.ipynb) about the training, and
# [05](05_ppm100_evaluation.ipynb) measures errors.
#
# In a running notebook, the inspector above compares the network with the one whose skip link was cut. Choose `detail`,
# a zoom of 4, and the other model beside it; then disturb the picture with `blur`, and see which of the two changes
# less.
#
# ## 6. Objectives: Eq. 2–5
#
# Every target comes from one label, the true matte $\alpha_g$.
#
# > $$\mathcal{L}_s = \frac{1}{2} \|s_p - G(\alpha_g)\|_2 \quad (2)$$
# > "where $G$ stands for $16\times$ downsampling followed by Gaussian blur. It removes the fine structures (such as
# > hair) that are not essential to portrait semantics." *(Semantic Estimation)*
#
# We take the mean of each $16 \times 16$ block and blur with a $3 \times 3$ Gaussian of $\sigma = 0.8$. (The paper
# gives no size and no $\sigma$.) Take a matte of $32 \times 32$ whose left half is 1. **Predict** the shape of
# $G(\alpha_g)$, and whether its left column is 1.


# %% tags=["nbval-check-output"]
def G(alpha):
    small = nn.functional.avg_pool2d(alpha, 16)
    taps = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * 0.8**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2  # sums to one
    return nn.functional.conv2d(nn.functional.pad(small, (1, 1, 1, 1), mode="replicate"), kernel[None, None])


def L_s(s_p, alpha):
    return ((s_p - G(alpha)) ** 2).mean() / 2


half, guess = torch.zeros(1, 1, 32, 32), torch.tensor([[[[0.9, 0.2], [0.6, 0.1]]]])
half[..., :16] = 1
print("G:", [[round(value, 3) for value in row] for row in G(half)[0, 0].tolist()])
print(f"L_s: {float(L_s(guess, half)):.4f}")

# %% [markdown]
# By hand: the three taps are $e^{-0.78} : 1 : e^{-0.78}$, which is 0.239, 0.522 and 0.239 once they sum to one. In the
# left column the tap on the right reads 0, so 0.761 is left. Then
# $L_s = \frac{1}{2} \cdot \frac{1}{4}(0.139^2 + 0.039^2 + 0.161^2 + 0.139^2) = 0.0083$.
#
# The norm $\|\cdot\|_2$ in Eq. 2 can be read in several ways: with or without a root, as a sum or as a mean. A sum
# would grow with the picture, so we take means in all losses, here of the squares.
#
# > $$\mathcal{L}_d = m_d \|d_p - \alpha_g\|_1 \quad (3)$$
# > "$m_d$ is generated through dilation and erosion on $\alpha_g$. Its values are 1 if the pixels are inside the
# > transition region, and 0 otherwise." *(Detail Prediction)*
#
# Take four pixels of a row: person, hair, hair, wall, with $\alpha_g = (1, 0.6, 0.1, 0)$, $m_d = (0, 1, 1, 0)$ and
# $d_p = (0.5, 0.8, 0.3, 0.4)$. **Predict** $\mathcal{L}_d$ by hand. Which of the four predictions get a gradient, and
# how large is it?


# %% tags=["nbval-check-output"]
def L_d(d_p, alpha, m_d):
    return (m_d * (d_p - alpha).abs()).mean()


true_row, m_row = torch.tensor([1.0, 0.6, 0.1, 0.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
d_row = torch.tensor([0.5, 0.8, 0.3, 0.4], requires_grad=True)
loss = L_d(d_row, true_row, m_row)
loss.backward()
print(f"L_d {loss:.3f}, sizes of the gradient {d_row.grad.abs().tolist()}")

# %% [markdown]
# $(0 \cdot 0.5 + 1 \cdot 0.2 + 1 \cdot 0.2 + 0 \cdot 0.4) / 4 = 0.1$. The two largest errors cost nothing and get no
# gradient: away from the border D is free to give any value, as the flag and the suit in section 1 showed. All pixels
# inside the band are pushed equally hard, however wrong they are.
#
# > $$\mathcal{L}_\alpha = \|\alpha_p - \alpha_g\|_1 + \mathcal{L}_c \quad (4)$$
# > "where $\mathcal{L}_c$ [...] measures the absolute difference between input image $I$ and the composited image
# > obtained from $\alpha_p$, the ground truth foreground, and the ground truth background." *(Semantic-Detail Fusion)*
#
# Insert Eq. 1 for $I$ and subtract: $\alpha_p F + (1 - \alpha_p) B - I = (\alpha_p - \alpha_g)(F - B)$. So
# $\mathcal{L}_c$ is the error of the matte, weighted by how different person and background look. **Predict**
# $\mathcal{L}_\alpha$ for one pixel with $\alpha_g = 0.6$ and $\alpha_p = 0.8$: dark hair $F = (0.2, 0.1, 0.1)$ in
# front of a wall $B = (0.9, 0.9, 0.8)$; and in front of a wall of the colour of the hair.


# %% tags=["nbval-check-output"]
def L_alpha(alpha_p, alpha, foreground, background):
    image = alpha * foreground + (1 - alpha) * background
    composed = alpha_p * foreground + (1 - alpha_p) * background
    return (alpha_p - alpha).abs().mean() + (composed - image).abs().mean()


hair, wall = torch.tensor([[0.2, 0.1, 0.1], [0.9, 0.9, 0.8]])
print([f"{L_alpha(torch.tensor(0.8), torch.tensor(0.6), hair, behind):.4f}" for behind in (wall, hair)])

# %% [markdown]
# $0.2 + 0.2 \cdot (0.7 + 0.8 + 0.7)/3 = 0.3467$, and 0.2. An error that is invisible in the composite adds nothing to
# $\mathcal{L}_c$; only the first term remains.
#
# > $$\mathcal{L} = \lambda_s \mathcal{L}_s + \lambda_d \mathcal{L}_d + \lambda_\alpha \mathcal{L}_\alpha \quad (5)$$
# > "We set $\lambda_s = \lambda_\alpha = 1$ and $\lambda_d = 10$." *(Semantic-Detail Fusion)*
#
# First we test the losses on a random batch of two pictures. Then we show the targets for a photograph, with Grace
# Hopper's matte from section 5 as a stand-in for a label.

# %%
noise, trimap = torch.rand(2, 10, 64, 64), torch.randint(3, (2, 1, 64, 64)) / 2
image, alpha, foreground, background = noise.split([3, 1, 3, 3], dim=1)
batch = assemble.MattingBatch(image, alpha, trimap, foreground, background)
s_p, d_p, alpha_p = modnet.train()(image)
losses = L_s(s_p, alpha), L_d(d_p, alpha, (trimap == 0.5).float()), L_alpha(alpha_p, alpha, foreground, background)
expected = supervised.paper_objective(MattingOutput(s_p, d_p, alpha_p), batch)
ours = *losses, losses[0] + 10 * losses[1] + losses[2]
for name, value, theirs in zip(expected._fields, ours, expected, strict=True):
    print(f"{name:8} {value:.6f}, library {theirs:.6f}: difference {abs(value - theirs):.0e}, 1e-06 allowed")
    assert abs(value - theirs) <= 1e-6

label = next(iter(mattes.values()))[None, None]
m_d = (trimaps.trimap_from_alpha(label * (label > 0.05), 22) == 0.5).float()  # 30 pixels at 512, in proportion
titles = [
    "image",
    r"$G(\alpha_g)$: target of $s_p$",
    "$m_d$: where $d_p$ counts",
    r"$\alpha_g$: target of $d_p$, $\alpha_p$",
]
figures.image_row([hopper, G(label), m_d, label], titles)

# %% [markdown]
# $G(\alpha_g)$ keeps the person's rough shape and loses the fine structures, as the paper intends. $m_d$ is a band
# around the outline, and around the mistakes of this stand-in. $\mathcal{L}_d$ is averaged over the whole picture but
# is zero outside the band, so the band's share of the picture (9 % to 26 % in notebook 01, for squares of 10 to 40
# pixels) scales it down. That is one plausible reason for $\lambda_d = 10$; the paper gives none. The weight 10 applies
# to $d_p$ only. $\alpha_p$ counts with weight 1, inside the band and outside.
#
# ## 7. Which loss trains which branch?
#
# > "Since the decomposed sub-objectives are correlated and help strengthen each other, we can optimize MODNet
# > end-to-end." *(Fig. 2)*
#
# Section 1 quoted "three interdependent branches". You can read this off `M.forward`, and check it with gradients.
# **Predict** a table of yes and no: which loss reaches which part? Remember which maps each branch is given.

# %% tags=["nbval-check-output"]
parts = [modnet.S.backbone, modnet.S.context, modnet.S.head, modnet.D.process, modnet.D.head, modnet.F]
rows = ["| | backbone | e-ASPP | head of S | D | head of D | F |", "|---|" + ":-:|" * len(parts)]
for name, loss in zip(("$L_s$", "$L_d$", "$L_\\alpha$"), losses, strict=True):
    modnet.zero_grad()
    loss.backward(retain_graph=True)
    reached = [any(p.grad is not None and p.grad.any() for p in part.parameters()) for part in parts]
    rows.append(f"| {name} | {' | '.join('yes' if yes else 'no' for yes in reached)} |")
Markdown("\n".join(rows))

# %% [markdown]
# - $\mathcal{L}_s$ leaves D and F alone.
# - $\mathcal{L}_d$ reaches the backbone in two ways: through $S(I)$, and through the lower maps that D reads directly. So
#   errors at hair also train branch S.
# - $\mathcal{L}_\alpha$ reaches everything but the two heads, which exist for their losses only.
#
# ## 8. The paper's network and the released one
#
# The authors' repository holds an earlier network than the paper describes. The library has both, and
# `load_checkpoint` reads the authors' files.
#
# | | paper | released code |
# |---|---|---|
# | on the top map | e-ASPP, 835,200 weights | squeeze-and-excite, 819,200 |
# | rest of S | nothing ("only an encoder") | two $5 \times 5$ convolutions up to 1/8 |
# | $s_p$ | convolution on $S(I)$ | stride-2 convolution on the 1/8 map |
# | D | 12 convolutions, to 1/4 at once | 13 convolutions, to 1/4 in two steps |
# | F | sees $S(I)$ and $D(I, S(I))$ | sees the image again |
# | normalisation | batch norm, frozen during SOC ("we freeze the BatchNorm layers") | half batch, half instance norm |
# | $\lambda_s, \lambda_d, \lambda_\alpha$ | 1, 10, 1 | 10, 10, 1 |

# %% tags=["nbval-check-output"]
with torch.device("meta"):
    networks = {
        "paper": MODNet(),
        "released": MODNet(variant="released"),
        "paper, on ResNet-18": MODNet(backbone="resnet18"),
    }
    x = torch.rand(1, 3, 512, 512)
rows = ["| network | parameters | GFLOPs at 512 × 512 |", "|---|--:|--:|"]
for name, network in networks.items():
    weights, gflops = cost.count_parameters(network), cost.count_flops(network.eval(), x) / 1e9
    rows.append(f"| {name} | {weights:,} | {gflops:.2f} |")
    if "ResNet" not in name:
        results.record(f"{name}_parameters", weights)
        results.record(f"{name}_gflops", gflops, unit="GFLOPs")
Markdown("\n".join(rows))

# %% [markdown]
# The paper's design needs about half the weights and half the work of the released one. (The work is slightly less than
# in the table of section 5: in use, the heads of S and D are skipped.) The last row uses the paper's "arbitrary CNN
# backbone": the library takes the name of any timm model with maps at 1/2 to 1/32.
#
# What the paper leaves open, and what we chose:
#
# | open | our choice |
# |---|---|
# | dilation rates of e-ASPP | 1, 2, 3, 5, 7 (section 2) |
# | norms and activations inside e-ASPP, D and F | batch norm and ReLU after each convolution |
# | $s_p$ at 1/16 from a map at 1/32 | project to one channel, double bilinearly |
# | which low-level features enter D | the maps at 1/4, 1/8 and 1/16 in layers 2–4; the map at 1/2 in layer 11 |
# | where $S(I)$ enters D | added to them, in layer 5 |
# | the blur in $G$ | mean of blocks, then a $3 \times 3$ Gaussian with $\sigma = 0.8$ |
# | norms in the losses | means over all pixels |
# | how a trimap enters ("trimap-based MODNet") | as a fourth input channel |
#
# ## 9. Results

# %%
results.ResultsTable("02_building_modnet", profile.name)

# %% [markdown]
# ## What to believe, and what to use
#
# - The weights and FLOPs are exact: formula, hand calculation and count agree. e-ASPP has
#   0.0102<!-- easpp_weight_ratio --> of ASPP's weights and FLOPs, without compression
#   0.0208<!-- uncompressed_weight_ratio -->.
# - Counting says nothing about quality. Whether e-ASPP loses accuracy against ASPP, and whether each loss earns its
#   place, are questions for trained networks: [notebook 04](04_ablation_study.ipynb).
# - Counting FLOPs is not measuring seconds; [notebook 06](06_baselines_and_efficiency.ipynb) does both.
# - The table of section 8 lists eight choices that the paper leaves open. The authors' choices may differ from ours, so
#   the weights and FLOPs of their network may, too.
# - For use, take `Matter`; for research, take the modules of this notebook and change them. Keep rates below the side
#   of the smallest map that you train on.
#
# ## Exercises
#
# Where an answer uses `check_answer`, that function checks yours and says what is wrong with it. In a new cell:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("02.1", ...)  # your answer instead of the dots
# ```
#
# **1.** The paper reduces the channels by 4. Which reduction would bring the weights of e-ASPP at $c = 1280$ below half
# a per cent of ASPP's? Derive the smallest one that divides 1280, then check with
# `cost.parameter_ratio(1280, reduction=...)`.
#
# <details><summary>Answer</summary>
#
# With reduction $r$ the ratio is $(2c^2 + 50c) / (50 r c^2) = (0.04 + 1/c)/r$, so $r = 8$ gives 0.0051 and $r = 10$
# gives 0.0041. The first $r$ that divides 1280 and is large enough is 10.
#
# ```python
# check_answer("02.1", next(r for r in range(1, 1281) if 1280 % r == 0 and (0.04 + 1 / 1280) / r < 0.005))
# ```
#
# </details>
#
# **2.** Write one scale of e-ASPP for one channel, without `conv2d`: `atrous(cells, kernel, rate)` for a map of any
# size (H, W) and a kernel (3, 3), with zeros outside. All three arrive as tensors. Hint: pad once, then add nine
# shifted maps.
#
# <details><summary>Answer</summary>
#
# ```python
# import torch
#
#
# def atrous(cells, kernel, rate):
#     height, width = cells.shape
#     padded = torch.nn.functional.pad(cells, [int(rate)] * 4)
#     result = torch.zeros_like(cells)
#     for i in range(3):
#         for j in range(3):
#             top, left = i * int(rate), j * int(rate)
#             result += kernel[i, j] * padded[top : top + height, left : left + width]
#     return result
#
#
# check_answer("02.2", atrous)
# ```
#
# Deep learning's convolution is a correlation: the kernel is not flipped.
#
# </details>
#
# **3.** Write the multi-scale fusion of e-ASPP without `conv2d`: `fuse(scales, weights)` for scales (m, c, h, w) and
# weights (c, m) gives (c, h, w), where channel $j$ of the result sees only channel $j$ of each scale.
#
# <details><summary>Answer</summary>
#
# ```python
# import torch
#
#
# def fuse(scales, weights):
#     return torch.einsum("mchw,cm->chw", scales, weights)
#
#
# check_answer("02.3", fuse)
# ```
#
# </details>
#
# **4.** How would you test whether D needs its skip link, and not only whether the trained D uses it?
#
# <details><summary>Answer</summary>
#
# For each of several seeds, train two networks: one as it is, and one whose inputs from the side to layers 11 and 12
# are fixed at zero. Compare their errors inside $m_d$, seed by seed. [Notebook 04](04_ablation_study.ipynb) does such
# ablations.
#
# </details>
#
# **5.** In section 7 the head of S gets no gradient from the matte loss. What would change if F read $s_p$ instead
# of $S(I)$?
#
# <details><summary>Answer</summary>
#
# The matte loss would train the head of S as well, and F would know one number per cell instead of 1280. The head could
# then not be skipped in use.
#
# </details>
#
# ## References
#
# - Z. Ke et al. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.* AAAI 2022.
# - M. Sandler et al. *MobileNetV2: Inverted Residuals and Linear Bottlenecks.* CVPR 2018.
# - L.-C. Chen et al. *DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
#   Connected CRFs.* TPAMI 40(4), 2018.
# - N. Xu et al. *Deep Image Matting.* CVPR 2017 (the compositional loss).
#
# **Next:** [03 Training](03_training.ipynb)
