# %% [markdown]
# # 01 Dataset compositing: where do 45,000 labelled portraits come from?
#
# A matting network learns from pairs: a photograph, and the share of every pixel that belongs to the person.
# Nobody can paint that share by hand for 45,000 photographs.
# The paper starts from about 3,000 labelled portraits and makes the rest.
# This notebook follows that recipe from a single pixel to a training batch.

# %% [markdown]
# ## You will be able to
#
# - explain Eq. 1, and why one photograph has many correct answers;
# - turn a segmentation mask into a matte, and say how wrong each step is;
# - build a trimap and the transition region $m_d$, and avoid the traps in its values;
# - produce the paper's 15 samples of one foreground, with colours that still obey Eq. 1;
# - keep test people out of training, and draw sample 17,000 without drawing the 16,999 before it.

# %% [markdown]
# ## Needs
#
# Convolutions and PyTorch; nothing about matting.
# No download and no GPU: people and scenes are drawn by the project.
# The smoke profile takes about 35 seconds on two CPU cores.
# With `MODNET_DATA` set and another profile, section 9 also shows real photographs.

# %% tags=["parameters"]
PROFILE = "smoke"

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import ipywidgets as widgets
import numpy as np
import torch

from modnet_lib.data.compositing import apply_colour, colour_jitter, composite
from modnet_lib.data.loaders import CompositionDataset, StagedSampler, assemble, collate, training_data
from modnet_lib.data.portraits import render_composite, render_portrait
from modnet_lib.data.pseudo_mattes import prepare_ccp, pseudo_matte, read_prepared
from modnet_lib.data.scenes import render_background
from modnet_lib.data.sources import ccp_items, manifest, training_sources
from modnet_lib.data.trimaps import band_size, transition_region, trimap_from_alpha, trimap_from_mask
from modnet_lib.evaluation.metrics import mad
from modnet_lib.images import to_array, to_tensor
from modnet_lib.notebook.build import show_source
from modnet_lib.notebook.figures import checkerboard, image_row, tint_trimap, use_style
from modnet_lib.notebook.results import ResultsTable, record
from modnet_lib.paths import CACHE
from modnet_lib.profiles import Profile

use_style()
profile = Profile.load(PROFILE)

# %% [markdown]
# ## 1. One equation, seven unknowns
#
# > This task predicts an alpha matte with a precise foreground probability value $\alpha$ for each pixel $i$ as:
# > $$I^i = \alpha^i F^i + (1 - \alpha^i) B^i \qquad (1)$$
# > where $B$ is the background of $I$. This problem is ill-posed since all variables on the right hand side are
# > unknown.
# >
# > — section "Image Matting", Eq. 1
#
# Read it as a recipe for paint. A pixel on a strand of hair sees some hair and some wall.
# Its colour $I$ is a mixture: a share $\alpha$ of the hair's colour $F$, the rest of the wall's colour $B$.
#
# **Predict.** How many numbers does a pixel give you, and how many do you want?
# $I$ gives 3 (red, green, blue). You want $\alpha$ (1), $F$ (3) and $B$ (3): 7 unknowns, 3 equations.
#
# We draw a person and a scene, so that here all seven are known.

# %%
SIZE = 384
portrait = render_portrait(4, SIZE, hair="coils", body="half")
scene = render_background(4, SIZE)
foreground, background = to_tensor(portrait.foreground), to_tensor(scene)
alpha = to_tensor(portrait.alpha)
image = composite(foreground, background, alpha)

image_row(
    [image, alpha, foreground, background],
    ["image $I$", r"matte $\alpha$", "foreground $F$", "background $B$"],
    caption="F is a colour for every pixel, also where nobody stands: Eq. 1 multiplies it by 0 there.",
    height=2.0,
)

# %% [markdown]
# Now pretend that only $I$ is known, and look for *another* answer.
# Keep $B$ and choose any matte $\alpha'$ that is nowhere smaller than $\alpha$, for instance one with a big ball
# around the person. Solving Eq. 1 for the new foreground gives
# $F' = (\alpha F + (\alpha' - \alpha) B) / \alpha'$.
# That is a weighted mean of two colours, so it is a valid colour too.

# %% tags=["nbval-check-output"]
rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
ball = ((rows - 200) ** 2 + (columns - 192) ** 2 < 180**2).float()[None, None]
other_alpha = torch.maximum(alpha, 0.7 * ball)
other_foreground = alpha * foreground + (other_alpha - alpha) * background
other_foreground = torch.where(other_alpha > 0, other_foreground / other_alpha.clamp(min=1e-6), foreground)
again = composite(other_foreground, background, other_alpha)
print("valid colours:", bool(other_foreground.min() >= 0 and other_foreground.max() <= 1))
print("largest difference of the images < 1/255:", bool((again - image).abs().max() < 1 / 255))
print("largest difference of the mattes > 0.6:", bool((other_alpha - alpha).abs().max() > 0.6))
image_row(
    [image, again, other_alpha, other_foreground],
    [
        "$I$ from the true matte",
        "$I$ from another matte",
        r"the other matte $\alpha'$",
        "its foreground $F'$",
    ],
    caption="The first two pictures are the same; a method that sees only I cannot tell which matte made it.",
    height=2.0,
)

# %% [markdown]
# Both answers are perfect solutions of Eq. 1.
# What makes one of them right is knowledge that is not in the equation: people have outlines, balls of haze do not.
# A network can only get this knowledge from labelled pictures, so we need many of them.
#
# ## 2. Portraits with an exact matte
#
# > All images in our training set are collected from Flickr and are annotated by Photoshop. The training set
# > contains ∼2,600 half-body and ∼400 full-body portraits.
# >
# > — section "Results on AMD and PPM-100"
#
# That training set was never published.
# So this project draws people: any number of them, each a function of an integer seed, every strand known.
# They are no photographs. A network that has seen only them meets a new world in a real picture.
# But their mattes are *exact*, which no annotated photograph can offer, so they can measure every other method here.

# %%
sheet = [render_composite(seed, 128)[0] for seed in range(100, 108)]
image_row(
    sheet,
    [""] * 8,
    columns=8,
    height=1.15,
    caption="Eight seeds. Look for what makes matting hard: loose hair, fingers, gaps between arm and body.",
)

# %% [markdown]
# What does *exact* mean? $\alpha$ is the covered share of a pixel's area.
# The renderer cuts every pixel into at least 8 × 8 samples, asks of each sample whether the person covers it,
# and averages.
#
# **Predict.** With 16 × 16 samples, $\alpha$ can only be a multiple of which number? Of $1/256$.
# Below, the same person is drawn with 16 and with 32 samples a side, four times as many.

# %% tags=["nbval-check-output"]
coarse = render_portrait(4, 256, hair="coils", body="half", supersample=16).alpha
fine = render_portrait(4, 256, hair="coils", body="half", supersample=32).alpha
difference = np.abs(coarse - fine)
partial = (coarse > 0) & (coarse < 1)
print("multiples of 1/256:", bool((coarse * 256 == np.round(coarse * 256)).all()))
print("partly covered pixels are between 1 % and 10 % of all:", bool(0.01 < partial.mean() < 0.1))
print("mean difference from the finer rendering < 1/255:", bool(difference.mean() < 1 / 255))
head = np.s_[0:110, 70:190]
image_row(
    [coarse[head], fine[head], difference[head] * 10],
    ["16 × 16 samples a pixel", "32 × 32 samples", "difference, ten times"],
    caption="Strands agree; what differs is the rounding of the thinnest ones.",
    height=1.8,
)

# %% [markdown]
# ## 3. Straight colour, premultiplied colour, and the fringe
#
# Two conventions store a cut-out person. *Straight* colour keeps $F$ itself.
# *Premultiplied* colour keeps $\alpha F$: convenient for adding layers, already dark where the pixel is half empty.
# A file rarely says which one it holds. All files of this project are straight.
#
# There is a third, lazy choice: take the photograph's own colour $I$ as if it were $F$.
# Then a share of the *old* background travels along.
#
# **Predict.** Half-covered pixel, $F$ = 0.2 (dark hair), old wall = 0.8, new wall = 0. Eq. 1 says 0.5 · 0.2 = 0.1.
# Premultiplied colour used as straight gives 0.5 · (0.5 · 0.2) = 0.05: too dark.
# The photograph's colour gives 0.5 · (0.5 · 0.2 + 0.5 · 0.8) = 0.25: a bright rim.

# %% tags=["nbval-check-output"]
night = torch.full_like(image, 0.06)
correct = composite(foreground, night, alpha)
lazy = composite(image, night, alpha)
twice = composite(alpha * foreground, night, alpha)
partly, solid = ((alpha > 0.05) & (alpha < 0.95)).expand_as(image), (alpha == 1).expand_as(image)
fringe = (lazy - correct)[partly].abs().mean()
print("inside the person nothing changes:", torch.equal(lazy[solid], correct[solid]))
print("mean error in the border > 5/255:", bool(fringe > 5 / 255))
near = np.s_[0:150, 90:290]
image_row(
    [to_array(part)[near] for part in (image, correct, lazy, twice)],
    ["the photograph", "straight F", "the photograph's colour as F", "αF taken for F"],
    caption="Third picture: the old sky glows in the hair. Fourth: strands have gone dark and thin.",
    height=1.7,
)

# %% [markdown]
# So a training set needs $F$ as well as $\alpha$.
# A composite with a fringe would teach the network to look for fringes, which real photographs do not have.
#
# ## 4. From a segmentation mask to a pseudo-matte
#
# > Since open-source portrait matting datasets are typically small and have limited precision, prior works train
# > and validate their models on private datasets of diverse quality and difficulty levels.
# >
# > — Introduction (citations left out)
#
# Mattes are scarce, segmentation masks are not: labels that say *person* or *not* exist for many photographs.
# A mask becomes a matte in four steps. We run them on the drawn person, whose true matte tells the error of each.
#
# 1. mask and hair label, both binary;
# 2. a trimap: sure outside, sure inside, *unknown* along the border, widest along hair;
# 3. closed-form matting solves for $\alpha$ in the unknown band;
# 4. with $\alpha$ known, estimate $F$ and $B$ so that Eq. 1 gives the photograph back.
#
# The label for hair we get from a twin: the same seed, drawn bald.


# %%
def hair_label(person, twin):
    """Where the person is hair: visible there, and not the same in the bald twin."""
    changed = np.abs(person.foreground.astype(int) - twin.foreground).max(axis=2) > 40
    return (person.alpha > 0.5) & (changed | (twin.alpha < 0.5))


mask = portrait.alpha > 0.5
hair = hair_label(portrait, render_portrait(4, SIZE, hair="bald", body="half"))

# %%
picture = to_array(image)
trimaps = {
    "narrow band": trimap_from_mask(mask, None, band=2),
    "wide along hair": trimap_from_mask(mask, hair, band=3, hair_band=14),
    "wide everywhere": trimap_from_mask(mask, None, band=14),
}
pseudo = {name: pseudo_matte(picture, mask, trimap=trimap) for name, trimap in trimaps.items()}
image_row(
    height=2.0,
    images=[mask, *(tint_trimap(picture, trimap) for trimap in trimaps.values())],
    titles=["binary mask", *trimaps],
    caption="Orange is unknown: closed-form matting may decide there, and only there.",
)

# %% [markdown]
# **Predict** which of the four is nearest to the truth, and which is furthest.
# The measure is the paper's MAD: the mean of $|\alpha - \alpha_g|$ over all pixels.

# %% tags=["nbval-check-output"]
truth = portrait.alpha
errors = {"binary mask": mad(mask.astype(np.float32), truth)}
errors |= {name: mad(sample.alpha / 255, truth) for name, sample in pseudo.items()}
print("worst:", max(errors, key=errors.get))
print("best:", min(errors, key=errors.get))
heads = [mask, *(sample.alpha for sample in pseudo.values()), truth]
image_row(
    [part[near] for part in heads],
    [*(f"{name}\nMAD {error:.4f}" for name, error in errors.items()), "exact"],
    caption="Compare the outlines. On the right, where a building meets the hair, wide bands leave a smear.",
)

# %% [markdown]
# The narrow band cannot reach strands that the mask has missed, so more than half of the mask's error stays.
# The band along hair gains the most.
# A wide band everywhere gives the solver freedom where the mask was already right, and it uses it to make mistakes.
# That is why the hair label decides where the band is wide.
#
# Step 4 is judged without any label: does Eq. 1, applied to the estimates, return the photograph?

# %% tags=["nbval-check-output"]
best = pseudo["wide along hair"]
parts = [to_tensor(part) for part in (best.foreground, best.background, best.alpha)]
recomposed = composite(*parts)
recomposition = (recomposed - to_tensor(picture)).abs().mean()
print("mean recomposition error < 2/255:", bool(recomposition < 2 / 255))
cutout = checkerboard(best.foreground, best.alpha)
image_row(
    [to_array(recomposed)[near], best.foreground[near], best.background[near], cutout[near]],
    ["recomposed $I$", "estimated $F$", "estimated $B$", "cut-out"],
    height=1.8,
    caption="F continues the person's colours outwards, B continues the scene inwards, where it is a guess.",
)

# %% [markdown]
# A small recomposition error proves little: section 1 had error zero with a wrong matte.
# It is a check against blunders (swapped arguments, premultiplied colour), not a measure of quality.
#
# ### Where it fails
#
# Closed-form matting believes that, within a small window, foreground colours lie on a line, and so do background
# colours. A scene with sharp edges breaks that belief: a lit window that lies wholly inside the unknown band has no
# known pixel to learn from. Here is such a scene.

# %% tags=["nbval-check-output"]
person, street = render_portrait(6, SIZE, hair="coils", body="half"), render_background(6, SIZE)
hard = to_array(composite(to_tensor(person.foreground), to_tensor(street), to_tensor(person.alpha)))
hard_mask = person.alpha > 0.5
hard_trimap = trimap_from_mask(hard_mask, None, band=14)
failed = pseudo_matte(hard, hard_mask, trimap=hard_trimap).alpha
hard_errors = mad(failed / 255, person.alpha), mad(hard_mask.astype(np.float32), person.alpha)
print("here the pseudo-matte is worse than the mask:", hard_errors[0] > hard_errors[1])
image_row(
    [hard, tint_trimap(hard, hard_trimap), failed, np.abs(failed / 255 - person.alpha)],
    ["photograph", "trimap", "pseudo-matte", "error"],
    caption="Windows inside the band have become parts of the person, and the arm has turned half transparent.",
    height=2.0,
)

# %% [markdown]
# ## 5. Trimaps and the transition region
#
# > where $m_d$ is a binary mask to let $\mathcal{L}_d$ focus on the portrait boundaries. $m_d$ is generated through
# > dilation and erosion on $\alpha_g$. Its values are 1 if the pixels are inside the transition region, and 0
# > otherwise.
# >
# > — section "Detail Prediction", after Eq. 3
#
# In training the matte is known, so the trimap goes the other way: from $\alpha_g$ to a band.
# The paper gives no sizes. The authors gave them later, in their repository's issues 58, 74 and 108:
# a square of 20 to 40 pixels for pictures of 512, drawn at random; *surely foreground* means $\alpha \ge 0.9$.

# %%
show_source(trimap_from_alpha)

# %% [markdown]
# **Predict.** A vertical edge runs through the picture, $\alpha$ is 1 on the left and 0 on the right.
# How many columns are unknown for a square of 9 pixels?
# Dilation adds 4 columns on one side of the edge, erosion takes 4 on the other: 8.

# %% tags=["nbval-check-output"]
edge = torch.zeros(1, 1, 32, 64)
edge[..., :32] = 1
print("unknown columns:", int(transition_region(edge, 9)[0, 0, 0].sum()))
print("values of the trimap:", trimap_from_alpha(edge, 9).unique().tolist())

# %% [markdown]
# For a picture the square's side is a choice between two harms.
# Too narrow, and loose strands fall outside the band, where Eq. 3 does not look.
# Too wide, and $m_d$ covers the whole person, so the detail branch has to solve everything.
#
# The picture shows four sides; below it is a slider for all others, if the notebook is running.

# %%
large = render_portrait(4, 512, hair="coils", body="half")
large_alpha = to_tensor(large.alpha)
large_image = composite(to_tensor(large.foreground), to_tensor(render_background(4, 512)), large_alpha)

sides = (10, 20, 40, 80)
image_row(
    [tint_trimap(large_image, trimap_from_alpha(large_alpha, side)) for side in sides],
    [f"{side} pixels" for side in sides],
    caption="20 and 40 are the ends of the authors' range at 512 pixels.",
    height=2.0,
)


# %%
def band_png(side):
    """The tinted trimap as the bytes of a PNG."""
    tinted = tint_trimap(large_image, trimap_from_alpha(large_alpha, side))
    return cv2.imencode(".png", (tinted[..., ::-1] * 255).astype(np.uint8))[1].tobytes()


slider = widgets.IntSlider(30, 2, 120, 2, description="side, pixels")
view = widgets.Image(value=band_png(30), format="png", width=384)
slider.observe(lambda change: setattr(view, "value", band_png(change["new"])), names="value")
widgets.VBox([slider, view])

# %% [markdown]
# ### Small people
#
# A person of 60 pixels drowns in a band of 40. The authors scale the square with the person's box (their issue 110),
# and so does `band_size`: 30 pixels if the person spans 512, in proportion otherwise.

# %% tags=["nbval-check-output"]
small = cv2.resize(render_portrait(2, 256, body="full").alpha, (160, 160), interpolation=cv2.INTER_AREA)
far = torch.zeros(1, 1, 512, 512)
far[..., 300:460, 180:340] = to_tensor(small)
scaled = band_size(far)
print("a person's pixels that stay surely foreground, 30 px:", int((trimap_from_alpha(far, 30) == 1).sum()))
print("scaled square is smaller than 12 px:", scaled < 12)
print("with it, some body is left:", bool((trimap_from_alpha(far, scaled) == 1).sum() > 0))

# %% [markdown]
# ### The trap in the values
#
# A trimap in a PNG holds 0, 128 and 255. Divided by 255, the middle value becomes 0.50196, not 0.5.
# Code that asks `trimap == 0.5` then finds nothing, and Eq. 3 is zero without a warning.
# Users of the released code met exactly this: a detail loss of 0 (their issue 59).
# The second trap is the threshold. Hair of a real person reaches $\alpha = 0.95$ in many pixels that look solid;
# with $\alpha = 1$ as "surely foreground" they turn unknown.

# %% tags=["nbval-check-output"]
trimap = trimap_from_alpha(large_alpha, 30)
stored = torch.where(trimap == 0.5, 128, trimap * 255).to(torch.uint8)
print("unknown pixels, as computed:", int((trimap == 0.5).sum()) > 10_000)
print("unknown pixels, read back and divided by 255:", int((stored / 255 == 0.5).sum()))
print("after rounding to halves:", bool(((stored / 255 * 2).round() / 2 == trimap).all()))

# %% [markdown]
# ## 6. Fifteen samples of one person
#
# > Background replacement (Xu et al. 2017) is applied to extend our training set. […] For each labeled foreground,
# > we generate 5 samples by random cropping and 10 samples by compositing with the images from the OpenImage dataset
# > (Kuznetsova et al. 2018) (as the background).
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict.** 3,000 foregrounds make how many samples an epoch? $3{,}000 \times (5 + 10) = 45{,}000$.
# Here is the title's number. The recipe as data, with this profile's few foregrounds:

# %% tags=["nbval-check-output"]
dataset = training_data(profile.data, profile.seed)
order = np.random.default_rng([profile.seed, 0]).permutation(len(dataset))
which, kind = np.divmod(order, dataset.per_foreground)
print("samples per foreground:", dataset.per_foreground, "of which natural:", dataset.natural)
print("each foreground equally often:", bool((np.bincount(which) == dataset.per_foreground).all()))
print("samples an epoch with 3,000 foregrounds:", 3_000 * dataset.per_foreground)

# %%
numbers = sorted(np.flatnonzero(which == 0), key=lambda number: kind[number])
batch = assemble(collate([dataset[int(number), 128] for number in numbers]))
titles = ["natural crop" if kind[number] < dataset.natural else "composite" for number in numbers]
image_row(
    list(batch.image),
    titles,
    columns=8,
    height=1.15,
    caption="One labelled portrait, fifteen training images.",
)

# %% [markdown]
# Look at the framing: from the whole picture down to a face.
# Photographs of street fashion show whole bodies, users' pictures show heads, so crops go in close.
# Look also at what the natural crops have and composites have not: the person's own light, own shadow, own scene.
# The paper says of *benchmarks* made by compositing:
#
# > Their benchmarks are relatively easy due to unnatural fusion or mismatched semantics between the foreground and
# > the background (Fig. 4(a)).
# >
# > — section "Photographic Portrait Matting Benchmark"
#
# The same holds for training images. The five natural crops are there for that reason.
# (For drawn people the difference is small: their scene is drawn, too.)
#
# ## 7. Colours may change, Eq. 1 must not
#
# Pictures differ in exposure, white balance and saturation, so colours are jittered.
# But the loss needs $I$, $F$ and $B$ that belong together: Eq. 4 recomposes $F$ and $B$ and compares with $I$.
# If jitter changed $I$ alone, a perfect matte would be punished.
#
# Suppose the jitter is affine, $J(x) = Mx + t$. **Predict** by hand:
# $\alpha J(F) + (1-\alpha) J(B) = M(\alpha F + (1-\alpha) B) + t(\alpha + 1 - \alpha) = J(I)$.
# Affine maps commute with Eq. 1. Brightness, contrast, saturation, hue and tint are all affine; gamma is not.

# %% tags=["nbval-check-output"]
jitters = [torch.from_numpy(colour_jitter(np.random.default_rng(seed)))[None] for seed in (0, 2, 3, 4)]
jitter = jitters[-1]
shifted = [apply_colour(part, jitter) for part in (image, foreground, background)]
matrix, offset = jitter[:, :, :3], jitter[:, :, 3, None, None]


def affine(x):
    return torch.einsum("nij,njhw->nihw", matrix, x) + offset


residue = affine(image) - composite(affine(foreground), affine(background), alpha)
print("largest error < 1e-5:", bool(residue.abs().max() < 1e-5))
squared = image**2 - composite(foreground**2, background**2, alpha)
print("gamma 2, largest error > 10/255:", bool(squared.abs().max() > 10 / 255))

# %% [markdown]
# One exception remains: colours must stay in [0, 1], and cutting them off is not affine.
# `apply_colour` cuts. How many pixels does that move, for this picture and a strong jitter (number 4 below)?

# %%
cut = (shifted[0] - composite(*shifted[1:], alpha)).abs().amax(1) > 1 / 255
print(f"pixels off by more than 1/255: {100 * float(cut.float().mean()):.1f} %")
image_row(
    [apply_colour(image, jitter) for jitter in jitters],
    [f"jitter {number}" for number in (1, 2, 3, 4)],
    height=1.4,
    caption="Four affine colour maps of one picture; all keep Eq. 1 where no colour is cut off.",
)

# %% [markdown]
# ## 8. A sample is a function of two numbers
#
# Training takes hours and gets cut: a closed laptop, a queue's time limit.
# Going on *exactly* where it stopped needs the same samples in the same order.
# A dataset that keeps a random state would have to replay everything up to there.
# This one keeps none: the seed and the sample's number give a fresh generator each time.
#
# **Predict.** Draw sample 17,000 alone; then draw a few others and draw it again. Equal to the last bit?
#
# Resuming at step 5 is then no more than starting to count there, whatever the sizes of earlier stages were.

# %%
show_source(CompositionDataset.__getitem__)

# %% tags=["nbval-check-output"]
alone = dataset[17_000, 64]
_ = [dataset[number, 64] for number in (3, 16_999, 17_001)]
repeated = dataset[17_000, 64]
print("bit for bit equal:", all(map(np.array_equal, alone, repeated)))

stages = [(64, 4, 3), (96, 2, 4)]  # image size, batch size, steps
whole, resumed = list(StagedSampler(stages)), list(StagedSampler(stages, start=5))
print("two steps left of", len(whole), "and the same samples:", whole[5:] == resumed)

# %% [markdown]
# Workers read, crop and hand over bytes: four times smaller than floats. Colour, Eq. 1 and the trimap are left to
# `assemble`, which runs on the training device, for the whole batch at once.

# %% tags=["nbval-check-output"]
raw = collate([dataset[number, 64] for number in range(4)])
print("raw:", raw.foreground.dtype, tuple(raw.foreground.shape))
batch = assemble(raw)
for name, part in batch._asdict().items():
    print(f"{name:11s} {part.dtype} {tuple(part.shape)}")

# %% [markdown]
# ## 9. Backgrounds without people, and three kinds of photographs
#
# A background that shows a passer-by is poison: the passer-by is a person, the label says background.
# So backgrounds must be free of people. The drawn scenes are; a folder of yours has to be screened first.
# About one composite in fifty shows no person at all, so that the network learns to answer "nobody".

# %%
image_row(
    [render_background(seed, 128) for seed in (3, 5, 7, 14, 21, 30, 34, 44)],
    [""] * 8,
    height=1.15,
    caption="Rooms, streets, landscapes, lights, walls; about half of them out of focus.",
)

# %% [markdown]
# Real photographs come from Clothing-Co-Parsing (CCP): 2,098 street photographs, 1,004 of them with labels of
# 59 classes; one class is hair. `data/manifest.toml` says where to get them, and which ids are kept apart:
# 100 for validation (looked at during training) and 100 reserved (for the final test only).
#
# The split is made by id when files are listed, so it holds for any copy, whole or partial.
# To prove it without the data set, make a copy of empty files under the right names:

# %% tags=["nbval-check-output"]
entry = manifest()["ccp"]
held_out = set(entry["validation_ids"]) | set(entry["reserved_ids"])
with TemporaryDirectory() as folder:
    photos, labels = Path(folder, "photos"), Path(folder, "annotations", "pixel-level")
    photos.mkdir()
    labels.mkdir(parents=True)
    for number in range(1, entry["photographs"] + 1):
        (photos / f"{number:04d}.jpg").touch()
        if number <= entry["labelled"]:
            (labels / f"{number:04d}.mat").touch()
    splits = {name: ccp_items(folder, name) for name in ("train", "validation", "reserved", "unlabelled")}
print({name: len(items) for name, items in splits.items()})
print("held-out photographs in training:", sum(item.id in held_out for item in splits["train"]))

# %% [markdown]
# 1,004 labelled, less 200 held out, less one with an empty label: 803 to train on.
#
# With the data at hand and a profile other than smoke, the next cell shows three training photographs with their
# pseudo-mattes. They are shown live and never stored in this notebook, because the photographs are not ours.

# %%
sources = training_sources() if profile.data.real else {}
items = ccp_items(sources["ccp"], "train")[:3] if "ccp" in sources else []
_ = prepare_ccp(items, CACHE / "ccp")
samples = [read_prepared(item, CACHE / "ccp") for item in items]
shown = [part for sample in samples for part in (sample.image, sample.alpha)]
print("real photographs shown:", len(items))
image_row(shown, ["photograph", "pseudo-matte"] * 3) if items else None

# %% [markdown]
# ### What these labels are not
#
# - **Pseudo ground truth.** CCP mattes come from the chain of section 4. Their error is not zero and not random:
#   too soft along hair, wrong where the segmentation is wrong. An error measured against them is an error against a
#   method, not against the truth. Only the drawn portraits have true mattes.
# - **Bystanders.** Street photographs show other people. CCP labels one person, so the others count as background,
#   and a network that finds them is told it is wrong.
# - **Another 3,000.** The paper's foregrounds are private. Numbers of this series are made with other data than the
#   paper's, and say so.
# - **A conflict in the sources.** The paper says 10 composites a foreground. The authors wrote of about 30 backgrounds
#   a foreground and 100,000 samples in their issues 57 and 121, for an earlier version. We follow the paper.

# %% [markdown]
# ## Results

# %%
record("supersampling_difference", difference.mean())
record("fringe_of_the_photographs_colour", float(fringe * 255), unit="/255")
record("binary_mask_mad", errors["binary mask"])
record("pseudo_matte_mad", errors["wide along hair"])
record("wide_everywhere_mad", errors["wide everywhere"])
record("recomposition_error", float(recomposition * 255), unit="/255")
record("samples_per_epoch_at_3000_foregrounds", 3_000 * dataset.per_foreground, paper=45_000)
ResultsTable("01_dataset_compositing", PROFILE)

# %% [markdown]
# ## Summary
#
# - Eq. 1 has 7 unknowns and 3 equations a pixel; many mattes explain one photograph.
# - Compositing needs straight foreground colour; the photograph's own colour brings the old background along.
# - Mask → trimap → closed-form matting → colours turns segmentation labels into usable mattes.
#   The hair label decides where the band is wide. The chain can fail, and then it fails confidently.
# - The transition region is dilate($\alpha > 0$) − erode($\alpha \ge 0.9$), 20 to 40 pixels at 512, less for small people,
#   with the values 0, 0.5 and 1 and no others.
# - 3,000 foregrounds × (5 natural crops + 10 composites) = 45,000 samples an epoch.
# - Affine colour jitter keeps Eq. 1. A sample depends on (seed, number) only, so a run can resume exactly.

# %% [markdown]
# ## Exercises
#
# **1.** In section 1 we kept $B$ and enlarged $\alpha$. Can one also keep $F$ and choose a smaller $\alpha'$?
#
# <details><summary>Answer</summary>
#
# Yes, by symmetry: $B' = (( \alpha - \alpha') F + (1 - \alpha) B) / (1 - \alpha')$ is a weighted mean again.
# With $\alpha' = 0$ the whole photograph is background, a picture of a poster.
#
# </details>
#
# **2.** You replace the affine jitter by a random gamma, $x \mapsto x^{\gamma}$. How can you keep Eq. 1 valid?
#
# <details><summary>Answer</summary>
#
# Apply gamma to $F$ and $B$ first and compose afterwards: $I = \alpha F^\gamma + (1-\alpha) B^\gamma$.
# That works for composites. For natural crops $I$ is given and $F$, $B$ are estimates,
# so the triple would only hold approximately.
#
# </details>
#
# **3.** A colleague makes the trimap of a matte that is stored as 0–255, with the thresholds of this notebook.
# What comes out?
#
# <details><summary>Answer</summary>
#
# $\alpha \ge 0.9$ now holds for every pixel with a value of 1 or more, so "surely foreground" means "not entirely empty".
# The erosion starts from the outermost wisp of hair, and the band moves outwards, off the hair.
# Try `trimap_from_alpha(large_alpha * 255, 30)`.
#
# </details>

# %% [markdown]
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022.
# - A. Levin, D. Lischinski, Y. Weiss. *A Closed-Form Solution to Natural Image Matting.* TPAMI 2008.
# - N. Xu, B. Price, S. Cohen, T. Huang. *Deep Image Matting.* CVPR 2017. Background replacement, compositional loss.
# - W. Yang, P. Luo, L. Lin. *Clothing Co-Parsing by Joint Image Segmentation and Labeling.* CVPR 2014.
# - Issues 57, 58, 59, 74, 108, 110, 121 and 124 of the repository ZHKKKe/MODNet.
#
# **Next:** [02 Building MODNet](02_building_modnet.ipynb)
