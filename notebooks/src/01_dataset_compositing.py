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
# - explain Eq. 1, [compositing](GLOSSARY.md#compositing), and why one photograph has many correct answers;
# - draw people whose mattes are exact, and measure how exact;
# - turn a segmentation mask into a matte, build a trimap and $m_d$, and say how wrong each step is;
# - produce the paper's 15 samples of one foreground, with colours that still obey Eq. 1;
# - read any published matting data set, and measure whether composited benchmarks are too easy.
#
# ## Needs
#
# Convolutions and PyTorch; nothing about matting.
# No download and no GPU: people and scenes are drawn by the project.
# Reading takes about 39 minutes. The smoke profile takes about 35 seconds on two CPU cores; the first run on a machine
# takes 40 more, because closed-form
# matting is compiled then.
# With `MODNET_DATA` set and another profile, section 7 uses real photographs.

# %% tags=["parameters"]
PROFILE = "smoke"

# %%
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from ipywidgets import interact
from torchvision.utils import flow_to_image

from modnet_lib import paths
from modnet_lib.data.assemble import assemble, collate
from modnet_lib.data.compositing import apply_colour, background_versions, colour_jitter, composite, harmony
from modnet_lib.data.dataset import StagedSampler
from modnet_lib.data.items import check, read_item
from modnet_lib.data.manifest import find_items, held_out_backgrounds, sources
from modnet_lib.data.pseudo_mattes import pseudo_matte
from modnet_lib.data.sets import training_data
from modnet_lib.data.trimaps import band_size, trimap_from_alpha, trimap_from_mask
from modnet_lib.evaluation.metrics import mad
from modnet_lib.evaluation.protocol import evaluate
from modnet_lib.evaluation.records import mean_errors
from modnet_lib.images import read_image, to_array, to_tensor
from modnet_lib.inference import Matter
from modnet_lib.notebook.figures import checkerboard, image_row, tint_trimap, use_style
from modnet_lib.notebook.results import ResultsTable, record, recorded_run
from modnet_lib.profiles import Profile
from modnet_lib.regions import transition_region
from modnet_lib.training.validation import validation_data

# the program that draws people; the library does not import it
sys.path.insert(0, str(paths.DATA / "drawn_people"))
from drawn_animation import animate
from drawn_portraits import HAIR_KINDS, render_composite, render_portrait
from drawn_scenes import render_background
from drawn_spm import other_camera, photograph, subjects

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
portrait = render_portrait(6, SIZE, hair="coils", body="half")
scene = render_background(6, SIZE)
foreground, background = to_tensor(portrait.foreground), to_tensor(scene)
alpha = to_tensor(portrait.alpha)
image = composite(foreground, background, alpha)

# %%
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
    ["$I$ from the true matte", "$I$ from another matte", r"the other matte $\alpha'$", "its foreground $F'$"],
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
# So this project draws people: any number of them, each a function of an integer seed, every strand known. A
# [program of its own](../data/drawn_people/README.md) does it; the library reads files that it made, and here we look inside.
# They are no photographs. A network that has seen only them meets a new world in a real picture.
# But their mattes are *exact*, which no annotated photograph can offer, so they can measure every other method here.
#
# The seed decides what varies between people: pose, age, skin, clothes, what is held, a sharp or blurred scene,
# and one whole body among every seven or eight people, as the paper's 400 among 3,000. Ten kinds of hair come first:

# %%
seeds = (28, 36, 26, 30, 35, 38, 33, 29, 31, 25)
hairs = [render_composite(seed, 128, hair=kind, body="half")[0] for seed, kind in zip(seeds, HAIR_KINDS, strict=True)]
others = [render_composite(seed, 128)[0] for seed in range(10)]
names = [kind.replace("_", " ") for kind in HAIR_KINDS]

# %%
image_row(
    hairs + others,
    names + [""] * 10,
    columns=10,
    height=0.95,
    caption="Ten kinds of hair, and ten seeds. Look for what is hard: loose strands, fingers, gaps beside the arms.",
)

# %% [markdown]
# ### Strand by strand
#
# Hair is not painted as a soft blob. A *lock* is a sheet between a few guide curves. Strands are interpolated between
# the guides, bend and curl with their neighbours, wander off as single hairs, and taper towards the tip.
# Each one is a thin polygon, far thinner than a pixel of the final picture. Thousands of polygons and the shapes of head
# and body make one union: whatever any of them covers belongs to the person.
#
# **Predict.** A strand 0.2 pixels wide crosses a pixel. Which $\alpha$ does it give? About 0.2, whatever its colour.
# Two such strands that cross in the pixel? A little less than 0.4: the crossing is covered once.
#
# A window shows a small part of a large drawing, so we can look at strands through a magnifying glass.

# %%
glass = (361, 104, 48)  # left, top, side of a window in a picture of 512 pixels
near, nearer = (
    render_portrait(6, 512 * k, hair="coils", body="half", window=tuple(k * v for v in glass)) for k in (1, 3)
)
image_row(
    [
        np.where(part.alpha[..., None] > 0, part.foreground, 235) if k else part.alpha
        for part in (near, nearer)
        for k in (1, 0)
    ],
    ["colour at 512", "matte at 512", "the same window at 1,536", "and its matte"],
    caption="Left: 48 pixels of a picture of 512. Right: what is inside of these pixels.",
    height=2.0,
)

# %% [markdown]
# ### How exact is exact?
#
# $\alpha$ is the covered share of a pixel's area.
# At 512 pixels the renderer cuts every pixel into 32 × 32 samples, asks of each whether the person covers it, and averages.
# No blur, no estimate: the only error is that of counting samples.
#
# **Predict.** With 32 × 32 samples, $\alpha$ can only be a multiple of which number? Of $1/1024$, a quarter of a step
# of an 8-bit file.
#
# Is that enough for strands of a tenth of a pixel? We ask again with four times as many samples, 64 × 64 a pixel, in eight
# random windows of 64 pixels that contain an edge.

# %% tags=["nbval-check-output"]
gaps, shown, rng = [], [], np.random.default_rng(0)
for seed, kind in enumerate(HAIR_KINDS[:8]):
    whole = render_portrait(seed, 512, hair=kind, body="half").alpha
    row, column = rng.choice(np.argwhere((whole > 0.02) & (whole < 0.98)))
    x, y = (int(np.clip(at - rng.integers(64), 0, 448)) for at in (column, row))
    fine = render_portrait(seed, 512, hair=kind, body="half", window=(x, y, 64), supersample=64).alpha
    shown.append(whole[y : y + 64, x : x + 64])
    gaps.append(np.abs(shown[-1] - fine))
gaps = np.stack(gaps)
print("multiples of 1/1024:", bool(all((part * 1024 == np.round(part * 1024)).all() for part in shown)))
print("mean difference <= 1/255:", bool(gaps.mean() <= 1 / 255))
print("largest difference <= 18/255:", bool(gaps.max() <= 18 / 255))
image_row(
    [*shown, *gaps * 10],
    [*HAIR_KINDS[:8], *[""] * 8],
    columns=8,
    height=1.1,
    caption="Above: 64-pixel windows with 32 × 32 samples a pixel. Below: difference from 64 × 64 samples, ten times.",
)

# %% [markdown]
# The mean difference is below a tenth of $1/255$, the largest, on single pixels of strands, about $8/255$: more than exact
# enough for an 8-bit matte on average, and not quite in every pixel.
#
# ### They move
#
# A video needs a matte for every frame, and whoever measures flicker wants to know where each pixel went.
# The generator moves people by moving their shapes, so it knows both: `animate` yields frames with colour, exact $\alpha$
# and *motion*, the displacement in pixels of what is visible there until the next frame.
#
# If that is right, looking up the *next* frame where the motion points must give back the present one. For somebody who
# walks through the picture this holds almost exactly. When a head turns, some skin comes into view and some goes: no motion can
# bring back what is hidden, and the measure below would be 0.5 to 0.6 in place of 0.002.

# %% tags=["nbval-check-output"]
walk = list(animate(21, 192, motion="walk_in", frames=8, rate=6.0, hair="wavy", body="half"))
now, then = ((frame.foreground * frame.alpha[..., None]).astype(np.float32) for frame in walk[3:5])
rows, columns = np.mgrid[:192, :192].astype(np.float32)
motion = walk[3].motion
back = cv2.remap(then, columns + motion[..., 0], rows + motion[..., 1], cv2.INTER_LINEAR)
inside = walk[3].alpha > 0.5
unexplained = np.abs(back - now)[inside].mean() / np.abs(then - now)[inside].mean()
print("longest step, pixels:", round(float(np.abs(motion).max())))
print("the motion explains 90 % of the change:", bool(unexplained < 0.1))

turn = list(animate(21, 192, motion="head_turn", frames=8, rate=6.0, hair="wavy", body="half"))
white = [np.where(frame.alpha[..., None] > 0, frame.foreground, 255) for frame in (walk[3], *turn[1:6:2])]
image_row(
    [
        white[0],
        flow_to_image(torch.from_numpy(motion).permute(2, 0, 1)),
        *white[1:],
        flow_to_image(torch.from_numpy(turn[1].motion).permute(2, 0, 1)),
    ],
    ["walking in", "its motion", "turning: frame 1", "frame 3", "frame 5", "motion of frame 1"],
    caption="Hue is the direction of the motion, saturation its length: the walker moves as one, hair follows the head.",
    height=1.45,
)

# %% [markdown]
# ## 3. Straight colour, premultiplied colour, and the fringe
#
# Two conventions store a cut-out person, [straight and premultiplied](GLOSSARY.md#straight-premultiplied). *Straight* colour keeps $F$ itself.
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
correct, lazy, twice = (composite(F, night, alpha) for F in (foreground, image, alpha * foreground))
partly, solid = ((alpha > 0.05) & (alpha < 0.95)).expand_as(image), (alpha == 1).expand_as(image)
fringe = (lazy - correct)[partly].abs().mean()
print("inside the person nothing changes:", torch.equal(lazy[solid], correct[solid]))
print("mean error in the border > 5/255:", bool(fringe > 5 / 255))

# %%
near = np.s_[0:150, 90:290]
image_row(
    [to_array(part)[near] for part in (image, correct, lazy, twice)],
    ["the photograph", "straight F", "the photograph's colour as F", "αF taken for F"],
    caption="Third picture: the old scene glows in the hair. Fourth: strands have gone dark and thin.",
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
# A mask becomes a matte (a [*pseudo-matte*](GLOSSARY.md#pseudo-matte)) in four steps. We run them on the drawn person, whose true matte tells the error of each.
#
# 1. mask and hair label, both binary;
# 2. a trimap: sure outside, sure inside, *unknown* along the border, widest along hair;
# 3. [closed-form matting](GLOSSARY.md#closed-form-matting) solves for $\alpha$ in the unknown band;
# 4. with $\alpha$ known, estimate $F$ and $B$ so that Eq. 1 gives the photograph back.
#
# The label for hair we get from a twin: the same seed, drawn bald.


# %%
def hair_label(person, twin):
    """Where the person is hair: visible there, and not the same in the bald twin."""
    changed = np.abs(person.foreground.astype(int) - twin.foreground).max(axis=2) > 40
    return (person.alpha > 0.5) & (changed | (twin.alpha < 0.5))


mask = portrait.alpha > 0.5
hair = hair_label(portrait, render_portrait(6, SIZE, hair="bald", body="half"))

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
print("worst:", max(errors, key=errors.get), "- best:", min(errors, key=errors.get))
heads = [part[near] for part in (mask, *(sample.alpha for sample in pseudo.values()), truth)]
names = [*(f"{name}\nMAD {error:.4f}" for name, error in errors.items()), "exact"]
image_row(heads, names, caption="Compare the outlines: with a narrow band, strands are lost for good.")

# %% [markdown]
# The narrow band cannot reach strands that the mask has missed, so more than half of the mask's error stays.
# The band along hair gains the most.
# A wide band everywhere gives the solver freedom where the mask was already right, and it uses it to make mistakes.
# That is why the hair label decides where the band is wide.
#
# Step 4 is judged without any label: does Eq. 1, applied to the estimates, return the photograph?

# %% tags=["nbval-check-output"]
best = pseudo["wide along hair"]
recomposed = composite(*map(to_tensor, (best.foreground, best.background, best.alpha)))
recomposition = (recomposed - to_tensor(picture)).abs().mean()
print("mean recomposition error < 2/255:", bool(recomposition < 2 / 255))
cutout = checkerboard(best.foreground, best.alpha)
views = [part[near] for part in (to_array(recomposed), best.foreground, best.background, cutout)]
names = ["recomposed $I$", "estimated $F$", "estimated $B$", "cut-out"]
image_row(views, names, height=1.8, caption="B continues the scene inwards, where it can only be a guess.")

# %% [markdown]
# A small recomposition error proves little: section 1 had error zero with a wrong matte.
# It is a check against blunders (swapped arguments, premultiplied colour), not a measure of quality.
#
# ### Where it fails
#
# Closed-form matting believes that, within a small window, foreground colours lie on a line, and so do background
# colours. So it needs known pixels of both kinds nearby. An arm thinner than the band, or a gap between arm and body, lies
# wholly inside the band and has none; edges in the scene make it worse. Here is such a case, first with the wide band
# everywhere, then with the band that the hair label decides.

# %% tags=["nbval-check-output"]
person, street = render_portrait(4, SIZE, hair="coils", body="half"), render_background(4, SIZE)
hard = to_array(composite(to_tensor(person.foreground), to_tensor(street), to_tensor(person.alpha)))
hard_mask = person.alpha > 0.5
hard_trimap = trimap_from_mask(hard_mask, None, band=14)
failed = pseudo_matte(hard, hard_mask, trimap=hard_trimap).alpha
hard_hair = hair_label(person, render_portrait(4, SIZE, hair="bald", body="half"))
narrow = trimap_from_mask(hard_mask, hard_hair, band=3, hair_band=14)
mended = pseudo_matte(hard, hard_mask, trimap=narrow).alpha
masks, wide_band, hair_band = (mad(a, person.alpha) for a in (hard_mask * 1.0, failed / 255, mended / 255))
print("with the wide band the pseudo-matte is worse than the mask:", wide_band > masks)
print("with the hair label it is better:", hair_band < masks)
image_row(
    [hard, tint_trimap(hard, hard_trimap), failed, np.abs(failed / 255 - person.alpha)],
    ["photograph", "trimap", "pseudo-matte", "error"],
    caption="The wall between arm and body has become a part of the person, and most of one arm is lost.",
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
# In training the matte is known, so the trimap goes the other way: from $\alpha_g$ to a band, the
# [transition region](GLOSSARY.md#transition-region-m_d), by [dilation and erosion](GLOSSARY.md#dilation-erosion).
# The paper gives no sizes. The authors gave them later, in their repository's issues 58, 74 and 108:
# a square of 20 to 40 pixels for pictures of 512, drawn at random; *surely foreground* means $\alpha \ge 0.9$.

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
# The picture shows four sides; below it is a slider for all others, if the notebook is running. **Predict** first: twice
# the side, how many times the unknown pixels?

# %%
large = render_portrait(6, 512, hair="coils", body="half")
large_alpha = to_tensor(large.alpha)
large_image = composite(to_tensor(large.foreground), to_tensor(render_background(6, 512)), large_alpha)
sides = (10, 20, 40, 80)
bands = [tint_trimap(large_image, trimap_from_alpha(large_alpha, side)) for side in sides]
names = [f"{side} pixels" for side in sides]
image_row(bands, names, height=2.0, caption="20 and 40 are the ends of the authors' range at 512 pixels.")


# %%
@interact(side=(1, 120))
def band(side=30):
    trimap = trimap_from_alpha(large_alpha, side)
    title = f"{side} pixels: {100 * (trimap == 0.5).float().mean():.1f} % unknown (orange)"
    return image_row([tint_trimap(large_image, trimap)], [title])


# %% [markdown]
# ### Small people
#
# A person of 60 pixels drowns in a band of 40. The authors scale the square with the person's box (their issue 110),
# and so does `band_size`: 30 pixels if the person spans 512, in proportion otherwise.
#
# ### The trap in the values
#
# A trimap in a PNG holds 0, 128 and 255. Divided by 255, the middle value becomes 0.50196, not 0.5.
# Code that asks `trimap == 0.5` then finds nothing, and Eq. 3 is zero without a warning.
# Users of the released code met exactly this: a detail loss of 0 (their issue 59).
# The second trap is the threshold. Hair of a real person reaches $\alpha = 0.95$ in many pixels that look solid;
# with $\alpha = 1$ as "surely foreground" they turn unknown.

# %% tags=["nbval-check-output"]
small = cv2.resize(render_portrait(2, 256, body="full").alpha, (160, 160), interpolation=cv2.INTER_AREA)
far = torch.zeros(1, 1, 512, 512)
far[..., 300:460, 180:340] = to_tensor(small)
scaled = band_size(far)
print("a person's pixels that stay surely foreground, 30 px:", int((trimap_from_alpha(far, 30) == 1).sum()))
print("scaled square is smaller than 12 px:", scaled < 12)
print("with it, some body is left:", bool((trimap_from_alpha(far, scaled) == 1).sum() > 0))

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
# Here is the title's number. The paper does not print it; with "nearly 3,000" foregrounds it is an upper end. In their issues
# 57 and 121 the authors speak of some 30 backgrounds a foreground and about 100,000 samples, for an earlier version; we
# follow the paper. The recipe as data, with this profile's few foregrounds:

# %% tags=["nbval-check-output"]
dataset = training_data(profile.data, profile.seed)
order = np.random.default_rng([profile.seed, 0]).permutation(len(dataset))
which, kind = np.divmod(order, dataset.per_foreground)
print("samples per foreground:", dataset.per_foreground, "of which natural:", dataset.config.natural)
print("each foreground equally often:", bool((np.bincount(which) == dataset.per_foreground).all()))
print("samples an epoch with 3,000 foregrounds:", 3_000 * dataset.per_foreground)

# %%
numbers = sorted(np.flatnonzero(which == 0), key=lambda number: kind[number])
batch = assemble(collate([dataset[int(number), 128] for number in numbers]))
titles = ["natural crop" if kind[number] < dataset.config.natural else "composite" for number in numbers]
image_row(list(batch.image), titles, columns=8, height=1.15, caption="One portrait, fifteen training images.")

# %% [markdown]
# Look at the framing: from the whole picture down to a face.
# Photographs of street fashion show whole bodies, users' pictures show heads, so crops go in close.
# ### Colours may change, Eq. 1 must not
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
# So the loader cuts $J(F)$ and $J(B)$ off first and composes afterwards: composites obey Eq. 1 to the last bit.
# For natural crops $I$ is given, and a strong jitter may break the triple where colours are cut off.
#
# Two more options answer Fig. 4, which comes next. *Harmonising* moves the person's colours towards the scene's mean and
# spread (Reinhard et al. 2001); it changes $F$ alone, so it does not commute with Eq. 1, which survives
# because $I$ is composed afterwards. *Defocus* blurs the scene, as a lens that
# is focused on the person would.

# %%
dim = apply_colour(background, torch.tensor([[[0.5, 0, 0, 0.02], [0, 0.5, 0, 0.05], [0, 0, 0.62, 0.2]]]))
looks = [image, composite(foreground, dim, alpha)]
for strength in (0.5, 1.0):
    maps = harmony(foreground, dim, alpha, torch.tensor([strength]))
    looks.append(composite(apply_colour(foreground, maps), dim, alpha))
soft = to_tensor(cv2.GaussianBlur(to_array(dim), (0, 0), 6))
looks.append(composite(apply_colour(foreground, maps), soft, alpha))
image_row(
    looks,
    ["as drawn", "pasted into dusk", "harmonised 0.5", "harmonised 1.0", "and defocused"],
    caption="The second person does not stand in that scene. A network may learn to find people by such mismatches.",
    height=1.7,
)

# %% [markdown]
# ## 7. Are composited benchmarks too easy? (Fig. 4)
#
# > Existing works constructed their validation benchmarks from a small amount of labeled data through image synthesis.
# > Their benchmarks are relatively easy due to unnatural fusion or mismatched semantics between the foreground and the
# > background (Fig. 4(a)).
# >
# > — section "Photographic Portrait Matting Benchmark"
#
# A claim like this can be measured. Take labelled photographs and one trained network, and change only the background:
#
# 1. *natural*: the photograph as it is;
# 2. *own scene*: $\alpha F + (1 - \alpha) B$ with the photograph's own estimated $F$ and $B$. It looks the same, because $F$
#    and $B$ are estimated so that Eq. 1 returns the photograph. The gap between 1 and 2 is the cost of recomposing. It says
#    nothing about the labels: section 1 returned the photograph with a wrong matte;
# 3. *other scenes*: the same $F$ and $\alpha$ over photographs of other places, the usual synthetic benchmark;
# 4. *own scene blurred* and *other scenes blurred*: 2 and 3 with the background out of focus.
#
# **Predict.** If the paper is right, which has the smaller error, 2 or 3? And what will blur do?
#
# Here the cell runs on three drawn people with the shipped network, to show how it is done.
# Drawn people stand in drawn scenes in any case, so do not conclude from them.

# %%
samples = validation_data(profile.data, profile.validation if profile.data.real else 3)
if profile.data.real:
    scenes = [read_image(file) for file in held_out_backgrounds()]
else:
    scenes = [render_background(seed, 256) for seed in range(40, 48)]
matter = Matter.from_pretrained(device=profile.device)

made = []
for number, (name, sample) in enumerate(samples):
    others = [scenes[(2 * number + k) % len(scenes)] for k in (0, 1)]
    made.append((name, background_versions(sample, others), sample.alpha))
fig4 = {}
for way in made[0][1]:
    pictures = ((name, image, truth) for name, ways, truth in made for image in ways[way])
    fig4[way] = mean_errors(evaluate(matter.alpha, pictures))
image_row(
    [image for images in made[0][1].values() for image in images[:1]],
    list(made[0][1]),
    caption="One person, one matte, five pictures.",
    height=1.6,
)

# %%
recorded = recorded_run("01_dataset_compositing")
print(recorded["provenance"])
for way in fig4:
    mse, mad_, iou = (recorded["values"][f"{way.replace(' ', '_')}_{name}"] for name in ("mse", "mad", "iou"))
    print(f"{way:21s} MSE {mse:.4f}   MAD {mad_:.4f}   IoU {iou:.3f}")

# %%
for c in recorded["squared_error_changes"]:
    between = f"{c['mean']:+.4f}, between {c['low']:+.4f} and {c['high']:+.4f}"
    print(f"{c['from']:12s} -> {c['to']:21s} {between}; more error in {c['photographs_with_more_error']} of 100")

# %% [markdown]
# Differences tell more than levels. The intervals are 95 %, by resampling photographs.
#
# - From natural to own scene: recomposing itself takes away 2 % of the error. Clear, but small.
# - From own scene to other scenes: composites are a little easier on average, but the interval holds zero, and in 61 of
#   100 photographs they are *harder*.
# - From sharp to blurred: half of the error is gone in the own scene, two fifths in other scenes.
#
# So here the claim does not show as stated. What makes a benchmark easy for this network is blur, far more than
# compositing. The two go together in practice: the paper says of the photographs that most annotated data comes from that
# they "have monochromatic or blurred backgrounds". PPM-100 counts "whether the image background is blurred" among its
# factors, and Fig. 4(d) shows pictures "without bokeh or with full-body"; SPM-100 below keeps the two apart.
#
# Three cautions. The labels are pseudo-mattes. Street photographs are one kind of natural picture, the kind this network was
# trained on. And it has seen composites over these very scenes. Notebook 05 asks again with other benchmarks.

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
#
# `compositing.py` cuts bytes, four times smaller than floats. Colour, Eq. 1 and the trimap are left to `assemble`, for the
# whole batch at once. All of it is PyTorch, so with pictures kept on a GPU nothing travels but numbers.
# On one core of an ordinary processor (`benchmarks/compositing.py`, both pipelines in one run) the usual Pillow and NumPy
# pipeline makes 48 to 50 samples of 512 pixels a second; this one makes 81 in batches of 8 and 68 in batches of 16,
# 1.7 and 1.4 times as many. On a GPU it has not been measured yet.

# %% tags=["nbval-check-output"]
alone = dataset[17_000, 64]
_ = [dataset[number, 64] for number in (3, 16_999, 17_001)]
repeated = dataset[17_000, 64]
print("bit for bit equal:", all(map(np.array_equal, alone, repeated)))

stages = [(64, 4, 3), (96, 2, 4)]  # image size, batch size, steps
whole, resumed = list(StagedSampler(stages)), list(StagedSampler(stages, start=5))
print("two steps left of", len(whole), "and the same samples:", whole[5:] == resumed)

raw = collate([dataset[number, 64] for number in range(4)])
print("cut:", raw.cutout.dtype, tuple(raw.cutout.shape))
for name, part in assemble(raw)._asdict().items():
    print(f"{name:11s} {part.dtype} {tuple(part.shape)}")

# %% [markdown]
# ## 9. The paper's data sets, and others
#
# > Since open-source portrait matting datasets are typically small and have limited precision, prior works train and
# > validate their models on private datasets of diverse quality and difficulty levels.
# >
# > — Introduction (citations left out)
#
# Much has been published since; the table leaves out Shen et al. 2016, which the paper cites there. Each set has its own folders, suffixes and ways to store alpha; one table,
# `data/manifest.toml`, describes them, and one function reads them all. Most are behind a form or a request.
# `modnet data list`, `fetch NAME` and `check NAME` are the same from a terminal.

# %%
for source in sources().values():
    counts = ", ".join(f"{split} {layout.count or '?'}" for split, layout in source.splits.items())
    print(f"{source.title[:38]:38s} {source.access:8s} {counts[:60]}")

# %% [markdown]
# What does a reader do with a copy that is damaged? Copies break: an unpacking that stopped, a missing matte, a
# picture that was scaled without its matte. Training on such pairs does not fail, it only gets worse, and nobody knows why.
# So `check` opens every file. Here is a miniature of PPM-100, six pictures in place of 100, with
# three faults. `check` reports four problems; the first is that 94 pictures are not there.

# %% tags=["nbval-check-output"]
with TemporaryDirectory() as folder:
    root = Path(folder)
    for part in ("image", "matte"):
        (root / part).mkdir()
    for number in range(6):
        shot, matte = photograph(subjects(6)[number], 64)
        cv2.imwrite(str(root / "image" / f"{number}.jpg"), shot[..., ::-1])
        cv2.imwrite(str(root / "matte" / f"{number}.jpg"), (matte * 255).astype(np.uint8))
    (root / "matte" / "1.jpg").unlink()
    (root / "image" / "2.jpg").write_bytes((root / "image" / "2.jpg").read_bytes()[:500])
    cv2.imwrite(str(root / "matte" / "4.jpg"), np.zeros((32, 32), np.uint8))
    report = check("ppm100", root)
    first = read_item(find_items("ppm100", root, "test")[0])
print("whole pairs:", report.fine)
print("problems:", len(report.problems))
for problem in report.problems:
    print("-", problem.replace(folder, "")[:100])
print({role: (array.dtype.name, array.shape) for role, array in first.items()})

# %% [markdown]
# Three points deserve a closer look.
#
# - **People in backgrounds.** A background that shows a passer-by is poison: the passer-by is a person, the label says
#   background. The authors removed pictures with faces (their issue 124), which misses people who look away.
#   `modnet data screen FOLDER` uses the shipped network instead: it names every picture in which more than 2 % of the area
#   is somebody. It named all 1,203 available photographs of
#   Clothing-Co-Parsing, and 65 of 542 people-free pictures, which are for you to look at (shipped checkpoint, 2026-11-23).
# - **Segmentation sets** (Supervisely Person, Clothing-Co-Parsing) have masks, not mattes. `modnet data prepare NAME` runs
#   section 4 on all of them, in parallel; an interrupted call continues.
# - **Photographs without labels.** `modnet data prepare FOLDER --teacher NET.onnx` labels the photographs in `FOLDER/image` with
#   any salient-object or matting network in ONNX. A mask of the same name, or else the shipped model, is the second opinion: a
#   matte is kept if the two overlap by an IoU of at least 0.86. A contact sheet shows what was dropped. Such mattes are
#   pseudo ground truth as well.
# - **Held-out pictures.** Of Clothing-Co-Parsing (CCP), 100 photographs are kept for validation and 100 for the final
#   test. The split is made by id when files are listed, so it holds for any copy, whole or partial.
#   1,004 are labelled, less 200, less one with an empty label: 803 to train on, as the table says. Forty backgrounds are
#   held out the same way; composited tests use only these.
#
# ### What pseudo-mattes are not
#
# They are not the truth. They come from the chain of section 4: too soft along hair, wrong where the segmentation is
# wrong, and bystanders count as background. An error measured against them is an error against a method.
#
# ## 10. SPM-100: a benchmark whose mattes are exact
#
# > To guarantee sample diversity, we consider several factors in order to balance the sample types in PPM-100,
# > including: (1) whether the whole portrait body is included; (2) whether the image background is blurred; and
# > (3) whether the person is holding additional objects.
# >
# > — section "Photographic Portrait Matting Benchmark"
#
# PPM-100 has to be asked for, and its mattes were annotated by hand. So the project draws a stand-in, SPM-100
# (*synthetic* portrait matting): 100 pictures, balanced over the same three factors, in PPM-100's own folders.
#
# - `python data/drawn_people spm100 OUT` writes it, the same pixels every time.
# - *SPM-shift* shows the same people through another camera: other light, a colour cast, a shaking hand, noise, strong
#   compression. Notebook 07 adapts to it.
# - *SPM-video* has clips with a matte for every frame. Notebook 08 measures flicker on it.
#
# **Predict.** Of noise, colour cast and shake, which one changes the true matte?
# Only shake: a pixel that saw the person for half of the exposure is half foreground.
#
# An error on SPM-100 says how well a network cuts out *drawn* people. It never stands in a column with PPM-100.

# %% tags=["nbval-check-output"]
people = subjects(8)
plain = [photograph(subject, 160) for subject in people]
shifted = [
    other_camera(*pair, np.random.default_rng(subject.seed)) for pair, subject in zip(plain, people, strict=True)
]
factors = [
    f"{'whole' if s.whole_body else 'half'} body\n{'blurred' if s.blurred_background else 'sharp'}\n{s.held}"
    for s in people
]
sizes = {sum(other[2:5] == s[2:5] for other in subjects()) for s in people}
print("pictures of each of the 8 combinations:", sorted(sizes))
image_row(
    [pair[0] for pair in (*plain, *shifted)] + [pair[1] for pair in shifted],
    factors + [""] * 16,
    columns=8,
    height=1.1,
    caption="Above: SPM-100. Middle: the same people in SPM-shift. Below: its mattes, softer where the camera shook.",
)

# %% [markdown]
# ## Results

# %%
record("supersampling_difference", float(gaps.mean() * 255), unit="/255")
record("largest_supersampling_difference", float(gaps.max() * 255), unit="/255")
record("fringe_of_the_photographs_colour", float(fringe * 255), unit="/255")
record("binary_mask_mad", errors["binary mask"])
record("pseudo_matte_mad", errors["wide along hair"])
record("wide_everywhere_mad", errors["wide everywhere"])
record("recomposition_error", float(recomposition * 255), unit="/255")
for way, values in fig4.items():
    record(f"{way.replace(' ', '_')}_mse", values["mse"])
record("change_unexplained_by_motion", float(unexplained))
record("samples_per_epoch_at_3000_foregrounds", 3_000 * dataset.per_foreground)
ResultsTable("01_dataset_compositing", PROFILE)

# %% [markdown]
# ## Summary
#
# - Eq. 1 has 7 unknowns and 3 equations a pixel; many mattes explain one photograph.
# - Drawn people have exact mattes: the union of all strands and shapes, counted with 32 × 32 samples
#   a pixel at 512 pixels.
# - Compositing needs straight foreground colour; the photograph's own colour brings the old background along.
# - Mask → trimap → closed-form matting → colours turns segmentation labels into usable mattes.
#   The hair label decides where the band is wide. With too wide a band the solver can lose an arm, and nothing warns you.
# - The transition region is dilate($\alpha > 0$) − erode($\alpha \ge 0.9$), 20 to 40 pixels at 512, less for small people.
# - 3,000 foregrounds × (5 natural crops + 10 composites) = 45,000 samples an epoch. The same
#   affine colour map on $I$, $F$ and $B$ keeps Eq. 1.
# - On 100 street photographs and with the shipped network, blurring the background takes away about half of the
#   squared error; pasting in another one does not change it clearly.
# - Open every file of a data set before you train on it.
#
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("01.2", ...)
# ```
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
# **2.** You replace the affine jitter by a random gamma, $x \mapsto x^{\gamma}$. How can you keep Eq. 1 valid? Write
# the image as a function of `(foreground, background, alpha, gamma)` and hand it to `check_answer`.
#
# <details><summary>Answer</summary>
#
# Apply gamma to $F$ and $B$ first and compose afterwards: $I = \alpha F^\gamma + (1-\alpha) B^\gamma$.
# That works for composites. For natural crops $I$ is given and $F$, $B$ are estimates,
# so the triple would only hold approximately.
#
# ```python
# def image(foreground, background, alpha, gamma):
#     return alpha * foreground**gamma + (1 - alpha) * background**gamma
#
#
# check_answer("01.2", image)
# ```
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
#
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022.
# - A. Levin, D. Lischinski, Y. Weiss. *A Closed-Form Solution to Natural Image Matting.* TPAMI 2008.
# - E. Reinhard, M. Ashikhmin, B. Gooch, P. Shirley. *Color Transfer between Images.* IEEE CG&A 2001.
# - N. Xu, B. Price, S. Cohen, T. Huang. *Deep Image Matting.* CVPR 2017. Background replacement, compositional loss.
# - W. Yang, P. Luo, L. Lin. *Clothing Co-Parsing by Joint Image Segmentation and Labeling.* CVPR 2014.
# - Issues 57, 58, 59, 74, 108, 110, 121 and 124 of the repository ZHKKKe/MODNet.
#
# **Next:** [02 Building MODNet](02_building_modnet.ipynb)
