# %% [markdown]
# # 01 Dataset compositing: where do 45,000 labelled portraits come from?
#
# A matting network learns from pairs: a photograph, and the share of every pixel that belongs to the person. Nobody can
# paint that share by hand for 45,000 photographs. The paper starts from about 3,000 labelled portraits and makes the
# rest; this notebook follows the recipe from a single pixel to a training batch.
#
# ## You will be able to
#
# - explain Eq. 1, [compositing](GLOSSARY.md#compositing), and why many mattes explain one photograph;
# - say what an exact matte is, and measure how exact it is;
# - turn a segmentation mask into a matte, and build a trimap and $m_d$ from a matte;
# - make the paper's 15 samples of one foreground, with colours that still obey Eq. 1;
# - judge whether a composited benchmark is too easy.
#
# ## Contents
#
# 1. [One equation, seven unknowns](#1.-One-equation,-seven-unknowns)
# 2. [Portraits with an exact matte](#2.-Portraits-with-an-exact-matte)
# 3. [Straight colour, premultiplied colour, and the fringe](#3.-Straight-colour,-premultiplied-colour,-and-the-fringe)
# 4. [From a segmentation mask to a pseudo-matte](#4.-From-a-segmentation-mask-to-a-pseudo-matte)
# 5. [Trimaps and the transition region](#5.-Trimaps-and-the-transition-region)
# 6. [Fifteen samples of one person](#6.-Fifteen-samples-of-one-person)
# 7. [Are composited benchmarks too easy? Fig. 4](#7.-Are-composited-benchmarks-too-easy?-Fig.-4)
# 8. [SPM-100: a benchmark whose mattes are exact](#8.-SPM-100:-a-benchmark-whose-mattes-are-exact)
#
# ## Needs
#
# NumPy and a little PyTorch; nothing about matting. No download and no GPU. Reading takes about 30 minutes.
# The smoke profile takes about 30 seconds on two CPU cores; the first run on a machine takes 40 more, because
# closed-form matting is compiled then.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import importlib
import sys

import cv2
import numpy as np
import torch

from modnet_lib import images, inference, paths, profiles, regions
from modnet_lib.data import assemble, compositing, dataset, manifest, pseudo_mattes, sets, trimaps
from modnet_lib.evaluation import statistics
from modnet_lib.notebook import figures, portraits, results
from modnet_lib.training import validation

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
# A pixel on a strand of hair sees some hair and some wall. Its colour $I$ is a mixture: a share $\alpha$ of the hair's
# colour $F$, and for the rest the wall's colour $B$.
#
# **Predict** the colour of a pixel with $\alpha = 0.25$, brown hair $F = (0.4, 0.2, 0.0)$ and a sky
# $B = (0.4, 0.6, 1.0)$.


# %%
def eq1(foreground, background, alpha):
    return alpha * foreground + (1 - alpha) * background


hair, sky = torch.tensor([0.4, 0.2, 0.0]), torch.tensor([0.4, 0.6, 1.0])
pixel = eq1(hair, sky, 0.25)
print("I =", [round(value, 4) for value in pixel.tolist()])
F, B, alpha = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
gap = float((eq1(F, B, alpha) - compositing.composite(F, B, alpha)).abs().max())
print(f"largest difference from the library's composite: {gap:.0e}, 1e-06 allowed")
assert gap <= 1e-6

# %% [markdown]
# The end of the cell is the test that this series uses throughout: what the notebook builds equals the library's
# version, here on random pictures. (The library computes $B + \alpha (F - B)$, so the last bits differ.)
#
# **Predict.** How many numbers does a pixel of a photograph give you, and how many do you want to know?
#
# <details><summary>Answer</summary>
#
# $I$ gives 3: red, green and blue. You want $\alpha$ (1), $F$ (3) and $B$ (3). Three equations, seven unknowns.
#
# </details>
#
# So there must be other answers. Keep $B$ and choose any $\alpha' \ge \alpha$. Solving Eq. 1 for the new foreground
# gives $F' = (\alpha F + (\alpha' - \alpha) B) / \alpha'$, a weighted mean of two colours, and therefore a colour. For
# our pixel, with $\alpha' = 0.5$:

# %% tags=["nbval-check-output"]
other_hair = (0.25 * hair + (0.5 - 0.25) * sky) / 0.5
print("F' =", [round(value, 4) for value in other_hair.tolist()])
print("I' =", [round(value, 4) for value in eq1(other_hair, sky, 0.5).tolist()])

# %% [markdown]
# The same pixel, from twice the share of bluish grey hair. Now a whole photograph: the trained network gives a matte,
# an estimator gives $F$ and $B$ (section 4), and we choose another matte, with a half-transparent disc around the
# person.

# %%
profile = profiles.Profile.load(PROFILE)
figures.use_style()
matter = inference.Matter.from_pretrained(device=profile.device, specks=0.01)
hopper, photo, *_ = portraits.portraits(profile.data).values()
# networks rarely answer exactly 0 or 1, labels do
mattes = [np.clip((matte - 0.05) / 0.9, 0, 1) for matte in matter.alphas([hopper, photo])]
person = pseudo_mattes.with_colours(photo, images.to_bytes(mattes[1]))
image, alpha, F, B = (images.to_tensor(part) for part in person)

# %%
rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in alpha.shape[2:]), indexing="ij")
other = torch.maximum(alpha, 0.7 * (rows**2 + columns**2 < 0.9).float())
other_F = torch.where(other > 0, (alpha * F + (other - alpha) * B) / other.clamp(min=1e-6), F)
difference = float((eq1(other_F, B, other) - eq1(F, B, alpha)).abs().max())
print(f"the photographs differ by up to {255 * difference:.3f}/255")
print(f"the mattes differ by up to {float((other - alpha).abs().max()):.2f}")
titles = ["image $I$", r"a matte $\alpha$", r"another matte $\alpha'$", "its foreground $F'$"]
figures.image_row([image, alpha, other, other_F], titles, caption="Both mattes give the same photograph.")

# %% [markdown]
# The equation does not say which of them is right. We prefer the first because we know what people look like. A network
# has to learn that, in this paper from labelled pictures, so we need many of them.
#
# ## 2. Portraits with an exact matte
#
# > All images in our training set are collected from Flickr and are annotated by Photoshop. The training set
# > contains ∼2,600 half-body and ∼400 full-body portraits.
# >
# > — section "Results on AMD and PPM-100"
#
# That training set was never published, and no annotated photograph comes with a matte that is certain. So this project
# also draws people, as many as you like: a seed determines each of them, down to the last strand of hair. The drawing
# is a [program of its own](../data/drawn_people/README.md), and the library only reads its files. Do not expect a
# network that has seen only drawn people to work on photographs. But their mattes are *exact*, so we can measure the
# methods below on them.
#
# Each strand of hair is a polygon that is thinner than a pixel. Whatever any polygon covers belongs to the person, and
# $\alpha$ is the covered share of a pixel's area, counted on $32 \times 32$ points of each pixel.
#
# **Predict.** A strand 0.2 pixels wide crosses a pixel: what is $\alpha$ there? And what is it where two such strands
# cross? What is the smallest possible step of $\alpha$?

# %%
sys.path.insert(0, str(paths.DATA / "drawn_people"))  # the program; the library does not import it
drawing, scenes, spm = (importlib.import_module(f"drawn_{name}") for name in ("portraits", "scenes", "spm"))
whole = drawing.render_portrait(6, 512, hair="coils", body="half")
near = drawing.render_portrait(6, 1536, hair="coils", body="half", window=(1083, 312, 144))  # 48 pixels of 512
zoom = np.s_[104:152, 361:409]
views = [eq1(part.foreground, 235, part.alpha[..., None]).astype(np.uint8) for part in (whole, near)]
titles = ["a drawn person", "48 of the 512 pixels", "the same window at 1,536", "its exact matte at 512"]
figures.image_row([views[0], views[0][zoom], views[1], whole.alpha[zoom]], titles)

# %% [markdown]
# One strand gives about 0.2, whatever its colour. Two crossing strands give a little less than 0.4, because the area of
# the crossing counts once. And $32 \times 32$ points make steps of $1/1024$, a quarter of a step of an 8-bit file.
#
# Is that fine enough for thin strands? We count again with four times as many points, in four random windows of 64
# pixels that contain an edge. We allow a difference of 1/255 on average and of 18/255 in a single pixel.

# %%
gaps, rng = [], np.random.default_rng(0)
for seed, kind in enumerate(drawing.HAIR_KINDS[:4]):
    whole = drawing.render_portrait(seed, 512, hair=kind, body="half").alpha
    row, column = rng.choice(np.argwhere((whole > 0.02) & (whole < 0.98)))
    x, y = (int(np.clip(at - 32, 0, 448)) for at in (column, row))
    fine = drawing.render_portrait(seed, 512, hair=kind, body="half", window=(x, y, 64), supersample=64).alpha
    gaps.append(255 * np.abs(whole[y : y + 64, x : x + 64] - fine))
results.record("supersampling_difference", np.mean(gaps), unit="/255")
results.record("largest_supersampling_difference", np.max(gaps), unit="/255")
print(f"mean {np.mean(gaps):.2f}/255 of 1/255 allowed, largest {np.max(gaps):.1f}/255 of 18/255 allowed")
assert np.mean(gaps) <= 1
assert np.max(gaps) <= 18

# %% [markdown]
# On average, the count is more exact than an 8-bit file can store. In single pixels it is off by several steps.
#
# ## 3. Straight colour, premultiplied colour, and the fringe
#
# There are two conventions for storing a cut-out person, [straight and
# premultiplied](GLOSSARY.md#straight-premultiplied). *Straight* colour keeps $F$ itself. *Premultiplied* colour keeps
# $\alpha F$: convenient for adding layers, and already dark where the pixel is half empty. A file rarely says which one
# it holds. All files of this project are straight.
#
# There is also a shortcut: take the photograph's own colour $I$ as if it were $F$.
#
# **Predict.** A half-covered pixel of dark hair, $F = 0.2$, was photographed in front of a bright wall, $B = 0.8$, and
# is pasted over black. What does Eq. 1 give if the foreground is $F$, $\alpha F$ or $I$?

# %% tags=["nbval-check-output"]
F1, wall, half = torch.tensor(0.2), torch.tensor(0.8), 0.5
choices = {"F": F1, "alpha F": half * F1, "I": eq1(F1, wall, half)}
for name, colour in choices.items():
    print(f"{name:7} {float(eq1(colour, torch.tensor(0.0), half)):.2f}")

# %% [markdown]
# 0.10 is right. Premultiplied colour taken for straight is too dark. The photograph's colour still contains half of the
# wall, and makes the pixel two and a half times as bright as it should be. Compare the outlines below: which choice
# loses a rim of hair, and which gains a rim of wall?

# %%
night = torch.full_like(image, 0.05)
pasted = [images.to_array(eq1(colour, night, alpha)) for colour in (F, alpha * F, image)]
rows, columns = np.nonzero(person.alpha > 127)
middle = max(90, int(columns[rows < rows.min() + 60].mean()))
head = slice(max(0, rows.min() - 10), rows.min() + 170), slice(middle - 90, middle + 90)
rim = figures.finest(person.alpha[head][:70], 48)
titles = ["the photograph", "straight $F$", r"$\alpha F$ taken for $F$", "$I$ taken for $F$"]
figures.image_row([part[head][rim] for part in (photo, *pasted)], titles, caption="48 pixels of the outline, enlarged.")

# %%
truth = sets.drawn_people(24).readers[0]()
I1, a1, F1, B1 = (images.to_tensor(part) for part in truth)
fringe = 255 * (eq1(I1, 0 * B1, a1) - eq1(F1, 0 * B1, a1)).abs()
partly = ((a1 > 0.05) & (a1 < 0.95)).expand_as(fringe)
results.record("fringe_of_the_photographs_colour", float(fringe[partly].mean()), unit="/255")
inside = (a1 == 1).expand_as(fringe)
print(f"largest error inside the person: {float(fringe[inside].max()):.1f}/255")
print(f"mean error of the border: {float(fringe[partly].mean()):.1f}/255")

# %% [markdown]
# $\alpha F$ darkens the rim of the hair. $I$ adds a light rim, a *fringe*. On a drawn person, whose $F$ is known, its
# error is 15<!-- fringe_of_the_photographs_colour -->/255 on average at the border, and zero inside the person. So a
# training set needs $F$ as well as $\alpha$. From composites with fringes, a network could learn to look for fringes,
# which photographs do not have.
#
# ## 4. From a segmentation mask to a pseudo-matte
#
# > Since open-source portrait matting datasets are typically small and have limited precision, prior works train
# > and validate their models on private datasets of diverse quality and difficulty levels.
# >
# > — Introduction (citations left out)
#
# Mattes are scarce. Segmentation masks, which say *person* or *not*, exist for many more photographs. A mask
# becomes a [*pseudo-matte*](GLOSSARY.md#pseudo-matte) in three steps: a trimap, $\alpha$ in its unknown band, then $F$
# and $B$.
#
# **Step 1, the trimap.** Everything within $r$ pixels of the mask's border is unknown. **Predict** the trimap of this
# row for $r = 2$.


# %% tags=["nbval-check-output"]
def mask_trimap(mask, radius):
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown, shrunk = cv2.dilate(mask.astype(np.uint8), disc), cv2.erode(mask.astype(np.uint8), disc)
    return np.where(grown != shrunk, 0.5, mask)


row = np.repeat([[0, 0, 0, 0, 1, 1, 1, 1, 1]], 9, axis=0)
print("mask  ", row[4], "\ntrimap", mask_trimap(row, 2)[4])
mask = truth.alpha > 127
different = int((mask_trimap(mask, 5) != trimaps.trimap_from_mask(mask, band=5)).sum())
print("pixels of a whole mask that differ from the library's trimap:", different)
assert different == 0

# %% [markdown]
# **Step 2, alpha.** [Closed-form matting](GLOSSARY.md#closed-form-matting), in its simplest form, assumes that in a
# small window all $F$ are alike, and so are all $B$. Then Eq. 1 makes $\alpha$ a *linear function of the colour*:
# $\alpha = a \cdot I + b$. In a window of nine pixels of which the trimap knows four, least squares finds $a$ and $b$.
# **Predict** how far off the other five are.

# %%
rng = np.random.default_rng(1)
true_alpha = np.array([0, 1, 1, 0, *rng.uniform(0, 1, 5)])  # the first four are known
window = true_alpha[:, None] * [0.4, 0.2, 0.0] + (1 - true_alpha[:, None]) * [0.4, 0.6, 1.0]
coefficients, *_ = np.linalg.lstsq(np.c_[window, np.ones(9)][:4], true_alpha[:4], rcond=None)
answer = np.c_[window, np.ones(9)] @ coefficients
print("true  ", true_alpha[4:].round(3), "\nsolved", answer[4:].round(3))
assert np.abs(answer - true_alpha).max() < 1e-9

# %% [markdown]
# Not at all, as long as the assumption holds. In a picture the windows overlap and share pixels, so what is known
# spreads into the band from window to window; one sparse linear system solves them all together. We use the solver of
# the package pymatting. Its mattes often stop a few per cent short of 0 and 1, so we stretch them.
#
# **Step 3, colours.** With $\alpha$ known, Eq. 1 still leaves $F$ and $B$ open. We take smooth colours that reproduce
# the photograph.

# %%
images.keep_threads()
pymatting = importlib.import_module("pymatting")  # compiles at its first use
scaled = truth.image / 255
solution = pymatting.estimate_alpha_cf(scaled, mask_trimap(mask, 5))
matte = images.to_bytes(np.clip((solution - 0.04) / 0.92, 0, 1))
colours = pymatting.estimate_foreground_ml(scaled, matte / 255, return_background=True)
by_hand = [matte, *(images.to_bytes(part.clip(0, 1)) for part in colours)]
library = pseudo_mattes.pseudo_matte(truth.image, mask, trimap=mask_trimap(mask, 5))
for name, ours, theirs in zip(("alpha", "F", "B"), by_hand, library[1:], strict=True):
    print(f"{name:5} differs from the library's by {np.abs(ours.astype(int) - theirs).max()}/255, 1/255 allowed")
    np.testing.assert_allclose(ours.astype(int), theirs, atol=1)

# %% [markdown]
# ### How wide a band?
#
# A drawn person has a true matte $\alpha_g$, so we can measure. The error is the paper's MAD (mean absolute
# difference), the mean of $|\alpha - \alpha_g|$. There are four candidates: the mask itself, a narrow band of 3 pixels,
# a wide one of 14, and a band that is wide along hair and narrow elsewhere. (To label the hair, the program draws the
# same person bald; what changes is hair.) **Predict** which candidate is nearest to the truth, and which is furthest.

# %%
person_6, bald = (drawing.render_portrait(6, 384, hair=hair, body="half") for hair in ("coils", "bald"))
F6, B6 = images.to_tensor(person_6.foreground), images.to_tensor(scenes.render_background(6, 384))
picture = images.to_array(eq1(F6, B6, images.to_tensor(person_6.alpha)))
mask = person_6.alpha > 0.5
changed = np.abs(person_6.foreground.astype(int) - bald.foreground).max(axis=2) > 40
hair_label = mask & (changed | (bald.alpha < 0.5))

# %%
bands = {"narrow band": mask_trimap(mask, 3), "wide band": mask_trimap(mask, 14)}
bands["wide along hair"] = trimaps.trimap_from_mask(mask, hair_label, band=3, hair_band=14)
solved = {name: pseudo_mattes.pseudo_matte(picture, mask, trimap=band).alpha / 255 for name, band in bands.items()}
errors = {name: float(np.abs(part - person_6.alpha).mean()) for name, part in {"mask": mask, **solved}.items()}
for name, error in errors.items():
    results.record(f"{name.replace(' ', '_')}_mad", error)

# %%
near = slice(0, 150), slice(90, 290)
shown = [part[near] for part in (picture, mask, *solved.values(), person_6.alpha)]
names = ["image", *(f"{name}: MAD {error:.4f}" for name, error in errors.items()), "exact matte"]
figures.image_row(shown, names, columns=3)

# %% [markdown]
# The narrow band cannot reach strands that the mask has missed. The wide one also leaves the solver free where the mask
# was already right, which costs accuracy. A band that is wide only along hair is best, with
# 0.0014<!-- wide_along_hair_mad --> instead of the mask's 0.0065<!-- mask_mad -->. So it helps if masks label hair
# separately.
#
# Now take the photograph of section 1. Its mask is the network's matte, thresholded at one half. There is no true matte
# here; look at the hair, and at the ring of the suit.

# %%
mask = person.alpha > 127
pseudo = pseudo_mattes.pseudo_matte(photo, mask, trimap=mask_trimap(mask, 8))
tinted = figures.tint_trimap(photo, mask_trimap(mask, 8))
views = [part[head] for part in (tinted, mask, pseudo.alpha, figures.checkerboard(pseudo.foreground, pseudo.alpha))]
figures.image_row(views, ["trimap: orange is unknown", "the mask", "the pseudo-matte", "its cut-out"])

# %% [markdown]
# A pseudo-matte is not the truth. Here, part of the suit's ring is half transparent: grey metal in front of a grey
# wall. Where the mask is wrong outside the band, the pseudo-matte is wrong, too. An error that is measured against
# pseudo-mattes is a difference from another method, not from the truth.
#
# ## 5. Trimaps and the transition region
#
# > where $m_d$ is a binary mask to let $\mathcal{L}_d$ focus on the portrait boundaries. $m_d$ is generated through
# > dilation and erosion on $\alpha_g$. Its values are 1 if the pixels are inside the transition region, and 0
# > otherwise.
# >
# > — section "Detail Prediction", after Eq. 3
#
# $\mathcal{L}_d$ is the loss of the detail branch, which [notebook 02](02_building_modnet.ipynb) builds. In training
# the matte is known, so the band is made from $\alpha_g$: the [transition region](GLOSSARY.md#transition-region-m_d),
# by [dilation and erosion](GLOSSARY.md#dilation-erosion). The paper gives no sizes. The authors gave them later, in
# issues 58, 74 and 108 of their repository: a square with a random side of 20 to 40 pixels for pictures of 512; *surely
# foreground* means $\alpha \ge 0.9$.
#
# A pixel is in the band if, within the square, one pixel may be the person ($\alpha > 0$) and one may not
# ($\alpha < 0.9$). **Predict** the band of the row 1, 1, 1, 1, 1, 0.95, 0.5, 0, 0, 0, 0, 0 for a square of 5.


# %% tags=["nbval-check-output"]
def transition(alpha, size):
    """m_d: dilate(alpha > 0) - erode(alpha >= 0.9), with a square of `size` pixels."""
    masks = torch.cat((alpha > 0, alpha < 0.9), dim=1).float()
    around = torch.nn.functional.pad(masks, (size // 2, (size - 1) // 2) * 2)
    maybe, unsure = torch.nn.functional.max_pool2d(around, size, stride=1).chunk(2, dim=1)
    return maybe * unsure


row = torch.tensor([1, 1, 1, 1, 1, 0.95, 0.5, 0, 0, 0, 0, 0]).expand(1, 1, 12, 12)
print("alpha", [round(value, 2) for value in row[0, 0, 6].tolist()])
print("m_d  ", [round(value) for value in transition(row, 5)[0, 0, 6].tolist()])

# %% [markdown]
# The pixel with 0.5 is both the last with $\alpha > 0$ and the first with $\alpha < 0.9$, and the band reaches two
# pixels to either side of it. The pixel with 0.95 counts as sure and does not widen the band. A trimap says the same in
# three values: 0.5 in the band, elsewhere 1 or 0.

# %%
for size in (9, 20, 31):
    m_d, trimap = transition(alpha, size), trimaps.trimap_from_alpha(alpha, size)
    torch.testing.assert_close(m_d, regions.transition_region(alpha, size), atol=0, rtol=0)
    torch.testing.assert_close(trimap, torch.where(m_d > 0, 0.5, (alpha >= 0.9).float()), atol=0, rtol=0)
    print(f"a square of {size} pixels: m_d is {100 * float(m_d.mean()):.1f} % of the picture, equal to the library's")

# %% [markdown]
# For a picture, the side of the square is a compromise. If the band is too narrow, loose strands fall outside, where
# $\mathcal{L}_d$ ignores them. If it is too wide, $m_d$ covers the whole person, so the detail branch has to solve the
# whole task. 20 and 40 are the ends of the authors' range. **Predict**: if the side doubles, by which factor does the
# number of unknown pixels grow?

# %%
sides = (10, 20, 40, 80)
made = [trimaps.trimap_from_alpha(images.to_tensor(mattes[0]), side) for side in sides]
shares = [100 * float((trimap == 0.5).float().mean()) for trimap in made]
titles = [f"{side} pixels: {share:.0f} % unknown" for side, share in zip(sides, shares, strict=True)]
figures.image_row([figures.tint_trimap(hopper, trimap) for trimap in made], titles)

# %% [markdown]
# By less than two, because a wide band overlaps itself where the outline bends, and the edge of the picture cuts it
# off. In a person 60 pixels wide, a square of 40 would leave only about 20 sure columns. So the authors scale the
# square with the person's box (their issue 110), and `trimaps.band_size` does the same.
#
# A trap: a trimap in a PNG file holds 0, 128 and 255. **Predict** what `trimap == 0.5` finds
# after division by 255.

# %% tags=["nbval-check-output"]
stored = np.array([0, 128, 255], np.uint8) / 255
print("values:", stored.round(5), "- equal to 0.5:", int((stored == 0.5).sum()))

# %% [markdown]
# Nothing: the middle value is 0.50196. So $m_d$ is zero everywhere, and so is $\mathcal{L}_d$, without a warning. Users
# of the released code reported such a detail loss of 0 (issue 59).
#
# ## 6. Fifteen samples of one person
#
# > Background replacement (Xu et al. 2017) is applied to extend our training set. […] For each labeled foreground,
# > we generate 5 samples by random cropping and 10 samples by compositing with the images from the OpenImage dataset
# > (Kuznetsova et al. 2018) (as the background).
# >
# > — section "Results on AMD and PPM-100"
#
# **Predict.** How does the 45,000 in the title follow from these numbers? Is it samples in all, or samples an epoch?
#
# `CompositionDataset` is this recipe as code. We give it one foreground, the photograph of section 1 with its matte,
# and drawn scenes as backgrounds.

# %% tags=["nbval-check-output"]
backgrounds = sets.drawn_scenes(24)
how = profile.changed({"data": {"shares": None}}).data  # one person has no share of others
samples = dataset.CompositionDataset([lambda: person], backgrounds.readers, profile.seed, how)
print("samples of one foreground:", len(samples), "of which natural crops:", samples.config.natural)
print(f"samples an epoch of 3,000 foregrounds: {3_000 * len(samples):,}")
results.record("samples_per_epoch_at_3000_foregrounds", 3_000 * len(samples))

# %%
raw = assemble.collate([samples[number, 320] for number in range(15)])
batch = assemble.assemble(raw)
order = raw.natural.nonzero().flatten().tolist()[:2] + (~raw.natural).nonzero().flatten().tolist()[:6]
titles = ["natural crop"] * 2 + ["composite"] * 6
figures.image_row([batch.image[number] for number in order], titles)

# %% [markdown]
# 15 samples of each foreground make 45,000 an epoch. (The paper does not print this number; it has "nearly 3,000"
# foregrounds, so 45,000 is an upper limit. In issues 57 and 121 the authors speak of about 100,000 samples for an
# earlier version; we follow the paper.) Look at the framing: some crops keep the whole picture, others go in close, as
# many users' pictures do. Now and then a composite shows nobody. That is our addition, for pictures without people.
#
# ### Colours may change, Eq. 1 must not
#
# Colours are jittered, because cameras differ. But the matte loss, Eq. 4 in notebook 02, composes $F$ and $B$ and
# compares the result with $I$, so the three must still belong together. Suppose the jitter is affine, $J(x) = Mx + t$:
# brightness, contrast, saturation, hue and tint all are. **Predict** by hand whether
# $\alpha J(F) + (1-\alpha) J(B) = J(I)$. And does it hold for a gamma of 2, $J(x) = x^2$?

# %%
colour = torch.from_numpy(compositing.colour_jitter(np.random.default_rng(4)))
whole = eq1(F, B, alpha)


def affine(x):
    return torch.einsum("ij,njhw->nihw", colour[:, :3], x) + colour[:, 3, None, None]


for name, jitter in (("affine", affine), ("gamma 2", torch.square)):
    gap = 255 * float((eq1(jitter(F), jitter(B), alpha) - jitter(whole)).abs().max())
    print(f"{name:8} breaks Eq. 1 by up to {gap:.4f}/255")

# %% [markdown]
# Affine jitter keeps Eq. 1 up to rounding: $M(\alpha F + (1-\alpha) B) + t(\alpha + 1 - \alpha) = J(I)$, since the
# shares sum to one. Gamma does not, so even a perfect matte would have a loss; exercise 2 repairs that. The loader
# jitters and clips $F$ and $B$ first and composes afterwards, so composites obey Eq. 1 even where colours are clipped.
# (A profile can ask for a worse camera at the end, with blur, noise or compression. That changes $I$ alone.)
#
# ### A sample is a function of two numbers
#
# Training takes hours and may be interrupted. To continue *exactly*, it needs the same samples in the same order. This
# data set keeps no random state: the seed and the sample's number give a fresh generator each time. So
# training can resume at sample 17,000 from the number alone.

# %% tags=["nbval-check-output"]
alone = samples[17_000, 64]
_ = [samples[number, 64] for number in (3, 16_999, 17_001)]
print("bit for bit equal:", all(map(np.array_equal, alone, samples[17_000, 64])))

# %% [markdown]
# ## 7. Are composited benchmarks too easy? Fig. 4
#
# > Existing works constructed their validation benchmarks from a small amount of labeled data through image synthesis.
# > Their benchmarks are relatively easy due to unnatural fusion or mismatched semantics between the foreground and the
# > background (Fig. 4(a)).
# >
# > — section "Photographic Portrait Matting Benchmark"
#
# A claim like this can be measured: take labelled photographs and one trained network, and change only the background.
# *Natural* is the photograph as it is. *Own scene* composes the photograph's own estimated $F$ and $B$, so it looks the
# same. *Other scenes* is the usual synthetic benchmark. Both can be blurred, as a lens focused on the
# person would blur them.

# %%
scene = backgrounds.readers[15]()
versions = compositing.background_versions(person, [scene])
del versions["natural"]
figures.image_row([shots[0] for shots in versions.values()], list(versions))

# %% [markdown]
# **Predict.** If the paper is right, which has the smaller error, own scene or other scenes? And what will blur do?
#
# The next cell measures on the profile's held-out photographs. The smoke profile has only two drawn people and records
# nothing; it shows how the measurement works. The figure below shows the recorded run.

# %%
if profile.data.real:
    labelled = validation.validation_data(profile.data, profile.validation)
    others = [images.read_image(file) for file in manifest.held_out_backgrounds()]
else:
    labelled, others = validation.validation_data(profile.data, 2), [read() for read in backgrounds.readers[:4]]
squared = {}
for number, (_, sample) in enumerate(labelled):
    chosen = [others[(2 * number + k) % len(others)] for k in (0, 1)]
    for way, shots in compositing.background_versions(sample, chosen).items():
        found = [np.square(matter.alpha(shot) - sample.alpha / 255).mean() for shot in shots]
        squared.setdefault(way, []).append(np.mean(found))
if profile.data.real:
    what = f"{len(labelled)} held-out photographs, {len(others)} held-out scenes, shipped checkpoint"
    results.write_run(paths.RUNS / "notebooks" / "01" / PROFILE, what, profile, squared=squared)
else:
    recorded = results.recorded_run("01_dataset_compositing")
    squared = recorded["squared"]
    print("recorded run:", recorded["provenance"])

# %%
steps = [("natural", "own scene"), ("own scene", "other scenes")]
steps += [(way, f"{way} blurred") for way in ("own scene", "other scenes")]
changes, labels = [], []
for before, after in steps:
    changes.append(statistics.paired_difference([squared[before]], [squared[after]]))
    share = changes[-1].mean / np.mean(squared[before])
    labels.append(f"{before} to {after}: {100 * share:+.0f} %")
    results.record(f"recorded_change_{before}_to_{after}".replace(" ", "_"), share)
harder = np.greater(squared["other scenes"], squared["own scene"]).sum()
results.record("recorded_photographs_harder_with_other_scenes", harder)
if not profile.data.real:  # the first half of the recorded photographs is from `people`, the second from CCP
    half = len(squared["own scene"]) // 2
    for name, part in (("people", slice(half)), ("ccp", slice(half, None))):
        own, other = (np.mean(squared[way][part]) for way in ("own scene", "other scenes"))
        results.record(f"recorded_other_scenes_{name}", other / own - 1)

# %%
figure = figures.make_figure(9, 2.4, layout="constrained")
axes = figure.subplots()
axes.axvline(0, color=figures.ORANGE)
axes.set_title("How the background changes the error")
for height, change in enumerate(changes):
    axes.plot([change.low, change.high], [height, height], color=figures.BLUE, linewidth=3)
    axes.plot(change.mean, height, "o", color=figures.BLACK)
axes.set(
    yticks=range(4), yticklabels=labels, ylim=(3.5, -0.5), xlabel="change of the MSE; dot: mean, bar: 95 % interval"
)
figure

# %% [markdown]
# Left of the orange line, the error falls: the pictures are easier. The intervals come from resampling photographs: 99
# varied portraits (`people`) and 99 street photographs (Clothing-Co-Parsing).
#
# - From natural to own scene: recomposing itself changes the error by
#   -2 %<!-- recorded_change_natural_to_own_scene -->. The interval excludes zero, but the change is small.
# - From own scene to other scenes: -19 %<!-- recorded_change_own_scene_to_other_scenes -->. The interval excludes zero,
#   although 99<!-- recorded_photographs_harder_with_other_scenes --> of the 198 photographs are *harder*. The change
#   comes from the varied portraits, -28 %<!-- recorded_other_scenes_people -->. On street photographs it is
#   +5 %<!-- recorded_other_scenes_ccp -->, with an interval around zero.
# - From sharp to blurred: -40 %<!-- recorded_change_own_scene_to_own_scene_blurred --> in the own scene,
#   -35 %<!-- recorded_change_other_scenes_to_other_scenes_blurred --> in others.
#
# So the claim holds here for varied portraits, and is undecided for street photographs. For this network, blur makes a
# picture easier more clearly than another scene does. The two often come together: the paper says of most annotated
# photographs that they "have monochromatic or blurred backgrounds", and PPM-100 counts "whether the image background is
# blurred" among its factors.
#
# Two cautions: the labels are pseudo-mattes, or mattes of another network; and this network was trained on street
# photographs and on composites, which may make both easier for it. [Notebook 05](05_ppm100_evaluation.ipynb) asks again
# with other benchmarks.
#
# ## 8. SPM-100: a benchmark whose mattes are exact
#
# > To guarantee sample diversity, we consider several factors in order to balance the sample types in PPM-100,
# > including: (1) whether the whole portrait body is included; (2) whether the image background is blurred; and
# > (3) whether the person is holding additional objects.
# >
# > — section "Photographic Portrait Matting Benchmark"
#
# PPM-100 has to be requested, and its mattes were annotated by hand. So the project draws a stand-in, SPM-100
# (*synthetic* portrait matting): 100 pictures, balanced over the same three factors, in PPM-100's own folders.
# `python data/drawn_people spm100 OUT` writes it, the same pixels every time. *SPM-shift* shows the same people through
# another camera: other light, a colour cast, a shaking hand, noise, strong compression. *SPM-video* has clips with a
# matte for every frame.
#
# **Predict.** Of noise, colour cast and shake, which one changes the true matte?

# %% tags=["nbval-check-output"]
combinations = [subject[2:5] for subject in spm.subjects()]
counts = sorted(combinations.count(one) for one in set(combinations))
print(f"{len(combinations)} pictures, {len(counts)} combinations of the factors, {counts[0]} to {counts[-1]} of each")

# %%
subject = spm.subjects()[2]
plain = spm.photograph(subject, 384)
shifted = spm.other_camera(*plain, np.random.default_rng(subject.seed))
window = figures.finest(plain[1], 120)
titles = ["SPM-100", "SPM-shift", "matte of SPM-100, enlarged", "matte of SPM-shift, enlarged"]
figures.image_row([plain[0], shifted[0], plain[1][window], shifted[1][window]], titles)

# %% [markdown]
# Only shake: a pixel that saw the person for half of the exposure is half foreground. An error on SPM-100 says how well
# a network cuts out *drawn* people. It must not be compared with an error on PPM-100.
#
# ## Results

# %%
results.ResultsTable("01_dataset_compositing", profile.name)

# %% [markdown]
# ## What to believe, and what to use
#
# - Eq. 1 has seven unknowns and three equations a pixel. To choose one of the many answers, a method needs more than
#   the photograph: a trimap, or what it learnt from labels. So look at the labels first.
# - The equalities above are exact, or hold within the printed bound. The MADs of section 4 are of *one* drawn person; on
#   your pictures the differences will have other sizes.
# - 3,000 foregrounds × (5 natural crops + 10 composites) = 45,000 samples an epoch are 3,000 people. Variety of people
#   is not something that compositing adds.
# - Section 7 rests on 198 photographs and one network. It supports the paper's sentence about composites for varied
#   portraits, not for street photographs, and it supports "blur makes a benchmark easier" for both.
# - For data of your own: keep straight colours; label hair if you start from masks; take a band of 20 to 40 pixels at
#   512, less for small people; compare trimaps with a tolerance; and open every file before you train on it
#   (`modnet data check`). [The list of data sets](../data/README.md) says where 16 published ones are and how to ask
#   for them; `modnet data prepare` runs section 4 on a folder.
#
# ## Exercises
#
# Where an answer uses `check_answer`, that function checks yours and says what is wrong with it. In a new cell:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("01.2", ...)  # your answer instead of the dots
# ```
#
# **1.** In section 1 we kept $B$ and enlarged $\alpha$. Can one also keep $F$ and choose a smaller $\alpha'$?
#
# <details><summary>Answer</summary>
#
# Yes, by symmetry: $B' = (( \alpha - \alpha') F + (1 - \alpha) B) / (1 - \alpha')$ is a weighted mean again.
# With $\alpha' = 0$ the whole photograph is background, like a photograph of a poster.
#
# </details>
#
# **2.** You replace the affine jitter by a random gamma, $x \mapsto x^{\gamma}$. How can you keep Eq. 1 valid? Write
# `image(foreground, background, alpha, gamma)`, which returns the jittered image.
#
# <details><summary>Answer</summary>
#
# Apply gamma to $F$ and $B$ first and compose afterwards: $I = \alpha F^\gamma + (1-\alpha) B^\gamma$. That works for
# composites. For natural crops $I$ is given and $F$, $B$ are estimates, so the triple would hold only approximately.
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
# **3.** Write the trimap of a single row, `trimap(alpha, radius)`: an array of 0, 0.5 and 1 by the authors' thresholds,
# where the "square" reaches `radius` pixels to both sides. Beyond the ends of the row there is nothing.
#
# <details><summary>Answer</summary>
#
# ```python
# def trimap(alpha, radius):
#     result = (alpha >= 0.9).astype(float)
#     for i in range(len(alpha)):
#         near = alpha[max(0, i - radius) : i + radius + 1]
#         if near.max() > 0 and near.min() < 0.9:
#             result[i] = 0.5
#     return result
#
#
# check_answer("01.3", trimap)
# ```
#
# </details>
#
# **4.** A colleague makes the trimap of a matte that is stored as 0–255, with the thresholds of this notebook.
# What comes out?
#
# <details><summary>Answer</summary>
#
# $\alpha \ge 0.9$ now holds for every pixel with a value of 1 or more, so "surely foreground" means "not entirely
# empty". The erosion starts from the outermost wisp of hair, so the band moves outwards and misses solid hair. Try
# `trimaps.trimap_from_alpha(alpha * 255, 30)`.
#
# </details>
#
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition.*
#   AAAI 2022.
# - A. Levin, D. Lischinski, Y. Weiss. *A Closed-Form Solution to Natural Image Matting.* TPAMI 2008.
# - T. Germer, T. Uelwer, S. Conrad, S. Harmeling. *Fast Multi-Level Foreground Estimation.* ICPR 2020.
# - N. Xu, B. Price, S. Cohen, T. Huang. *Deep Image Matting.* CVPR 2017. Background replacement, compositional loss.
# - W. Yang, P. Luo, L. Lin. *Clothing Co-Parsing by Joint Image Segmentation and Labeling.* CVPR 2014.
# - Issues 57, 58, 59, 74, 108, 110 and 121 of the repository ZHKKKe/MODNet.
#
# **Next:** [02 Building MODNet](02_building_modnet.ipynb)
