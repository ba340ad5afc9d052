# %% [markdown]
# # 00 Start here: can one photograph be enough to cut a person out, hair included?
#
# MODNet (Ke et al., AAAI 2022) says yes, with one network of three branches that needs no other input. Here you use
# it on real photographs, look inside, and get the map of a series that rebuilds it from the paper.
#
# ![Three pictures: the photograph of the astronaut Eileen Collins, her matte, and the cut-out in front of plain blue](figures/astronaut.jpg)

# %% [markdown]
# ## You will be able to
#
# - matte a photograph with two lines of Python;
# - say what a [matte](GLOSSARY.md#alpha-matte) is, and why a segmentation mask is not enough;
# - put a person in front of another background, by one equation that you write yourself;
# - tell the network's three outputs apart, and say which one is the answer;
# - judge a matte, and say where this model fails.
#
# ## Contents
#
# 1. [Two lines, three people](#1.-Two-lines,-three-people)
# 2. [A matte is not a mask](#2.-A-matte-is-not-a-mask)
# 3. [Another background](#3.-Another-background)
# 4. [Three outputs, one answer](#4.-Three-outputs,-one-answer)
# 5. [Three ways to do without a trimap, Fig. 1](#5.-Three-ways-to-do-without-a-trimap,-Fig.-1)
# 6. [Where it fails](#6.-Where-it-fails)
# 7. [The inspector](#7.-The-inspector)
# 8. [The map of the series](#8.-The-map-of-the-series)
#
# ## Needs
#
# Basic Python and NumPy. No download and no GPU: the photographs ship inside matplotlib and scikit-image, the trained
# network with this project. Reading takes about 18 minutes. The smoke profile takes about 20 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles

# %%
import numpy as np
import torch
from IPython.display import Markdown
from skimage.data import chelsea

from modnet_lib import images, regions
from modnet_lib.data import compositing, sets
from modnet_lib.inference.matter import Matter, network_size
from modnet_lib.notebook import figures, inspector, portraits
from modnet_lib.notebook.figures import finest, image_row
from modnet_lib.notebook.results import ResultsTable, record
from modnet_lib.profiles import Profile

# %% [markdown]
# ## 1. Two lines, three people
#
# > "MODNet inputs a single RGB image and applies explicit constraints to solve matting sub-objectives
# > simultaneously in one stage." *(Introduction)*
#
# "Single" is the point. Many methods also need a [*trimap*](GLOSSARY.md#trimap): a drawing that marks sure foreground,
# sure background and an unknown band. MODNet needs only the photograph. We take three.

# %% tags=["nbval-check-output"]
figures.use_style()
profile = Profile.load(PROFILE)
photos = portraits.portraits(profile.data)
for name, photo in photos.items():
    print(f"{name}: {photo.shape[0]} rows, {photo.shape[1]} columns")

# %% [markdown]
# The two lines load the network that ships with this project and cut the people out.

# %%
matter = Matter.from_pretrained(device=profile.device)
cutouts = {name: np.asarray(matter.cutout(photo)) for name, photo in photos.items()}

# %% [markdown]
# A cut-out has four channels: the person's colours and the *matte*, which says how much of each pixel belongs to the
# person.

# %%
tiles = [
    (photos[n], cut[..., 3], figures.over_colour(cut[..., :3], cut[..., 3], "#3b5b7a")) for n, cut in cutouts.items()
]
image_row(
    [tile for row in tiles for tile in row],
    [f"{name}: {what}" for name in photos for what in ("photograph", "matte", "in front of blue")],
    columns=3,
    caption="Is the whole person there? Are there holes? Is anything left of the background?",
)

# %% [markdown]
# Now zoom in on hair: 128 pixels of the photograph, enlarged almost three times.

# %%
heads = {name: finest(cut[: len(cut) // 3, :, 3], 128) for name, cut in cutouts.items()}
names = list(heads)[1:]
image_row(
    [picture[heads[name]] for name in names for picture in (photos[name], cutouts[name][..., 3])],
    [title for name in names for title in (name, "the matte")],
    caption="Grey pixels are partly person. At an outline that is right; inside a person it is a mistake.",
)

# %% [markdown]
# The outlines follow the hair, but single hairs are lost. One reason is that the network sees a smaller picture
# (section 4). The first figure shows real mistakes, too: the badge on Grace Hopper's cap has a hole, most of the
# astronaut's helmet is missing, and some grass below the camera man's arm is left. The model was trained mainly on
# street photographs; [its card](../data/checkpoints/README.md) lists its limits.
#
# Without a true matte to compare with, we describe a matte by two numbers: the share of pixels that are mostly person,
# and the share of *mixed* pixels, which are partly person and partly background. If there are many mixed pixels, look
# for whole areas in which the network is unsure.

# %%
mattes = {name: cut[..., 3] / 255 for name, cut in cutouts.items()}
for name, alpha in mattes.items():
    key = name.lower().replace(" ", "_")
    record(f"{key}_person", 100 * (alpha > 0.5).mean(), unit="%")
    record(f"{key}_mixed", 100 * ((alpha > 0.05) & (alpha < 0.95)).mean(), unit="%")

# %% [markdown]
# Grace Hopper fills 57 %<!-- grace_hopper_person --> of her photograph, and 4.3 %<!-- grace_hopper_mixed --> of the
# pixels are mixed; the camera man has 8.3 %<!-- camera_man_mixed -->, many of them on the grass.
#
# ## 2. A matte is not a mask
#
# > "This task predicts an alpha matte with a precise foreground probability value $\alpha$ for each pixel $i$ as:
# >
# > $$I^i = \alpha^i F^i + (1 - \alpha^i) B^i \qquad (1)$$"
# >
# > *(Related Works, Image Matting)*
#
# A hair is often thinner than a pixel. The pixel then records a *mixture* of hair and sky: $F$ is the colour of the
# hair, $B$ that of the sky, and $\alpha$ says how much of the pixel is hair. In NumPy, Eq. 1 is one line.


# %%
def blend(foreground, background, alpha):
    return alpha * foreground + (1 - alpha) * background


# %% [markdown]
# **Predict** one pixel by hand. Hair $F = (60, 40, 20)$ covers $\alpha = 0.3$ of it, the rest is sky
# $B = (200, 220, 240)$. Red is $0.3 \cdot 60 + 0.7 \cdot 200 = 158$. What are green and blue?

# %% tags=["nbval-check-output"]
hair, sky = np.array([60, 40, 20]), np.array([200, 220, 240])
print(blend(hair, sky, 0.3).round().astype(int))

# %% [markdown]
# > "This problem is ill-posed since all variables on the right hand side are unknown." *(Related Works)*
#
# Going back from $I$ to $\alpha$ is the hard part. **Predict**: how many numbers does a pixel give you, and how many
# are unknown?
#
# <details><summary>Answer</summary>
#
# Three are known, the colours of $I$. Seven are unknown: three of $F$, three of $B$, and $\alpha$.
#
# </details>
#
# So very different answers can explain one pixel:

# %% tags=["nbval-check-output"]
print("half a white hair in front of black:", blend(255, 0, 0.5))
print("a grey coat:                        ", blend(127.5, 0, 1))

# %% [markdown]
# Colour alone cannot decide between the two. The network must know what people look like: it needs *semantics* as well
# as fine detail.
#
# A segmentation mask avoids the problem: each pixel is person or not. What is lost? For an exact answer we take a
# portrait that a program drew strand by strand, so that its $\alpha$ is known, and round $\alpha$ to 0 or 1: a perfect
# mask. We put both cut-outs in front of green, with the true $F$. **Predict**: where is the mask wrong, and in which
# share of the pixels?

# %%
drawn = sets.drawn_people(8, "validation").readers[6]()
exact, colours = drawn.alpha[..., None] / 255, drawn.foreground / 255
green, corner = np.array([0, 0.69, 0.25]), finest(drawn.alpha, 56)
by_matte, by_mask = (blend(colours, green, alpha) for alpha in (exact, exact.round()))
image_row(
    [by_matte[corner], by_mask[corner], np.abs(by_mask - by_matte)[corner].mean(axis=2) * 3],
    ["the matte", "the mask", "absolute difference, times 3"],
    caption="The mask keeps a strand wholly or drops it; the matte keeps its share.",
)

# %%
mixed, error = (exact[..., 0] > 0.02) & (exact[..., 0] < 0.98), np.abs(by_mask - by_matte).mean(axis=2)
record("mixed_pixels", mixed.mean())
record("error_in_mixed_pixels", error[mixed].sum() / error.sum())
print(f"{mixed.mean():.1%} of the pixels hold {error[mixed].sum() / error.sum():.1%} of the error")

# %% [markdown]
# Rounding changes only mixed pixels, so the error is there: along edges and in hair. These are few pixels, but the
# figure shows what they do. The matte's outline is soft and has strands; the mask's looks cut with scissors.
#
# ## 3. Another background
#
# Once $\alpha$ and $F$ are known, Eq. 1 takes any other $B$. Here it is an evening sky, a gradient from blue to
# orange.

# %%
evening = np.linspace([0.12, 0.20, 0.45], [1.0, 0.72, 0.42], 600)[:, None]
scenes = {n: blend(c[..., :3] / 255, evening[: len(c)], c[..., 3:] / 255) for n, c in cutouts.items()}
image_row(list(scenes.values()), list(scenes), caption="Our one line of NumPy. Look along the outlines.")

# %% [markdown]
# The library has the same line for batches of tensors, (N, C, H, W). The two must agree:

# %%
name, cut = next(iter(cutouts.items()))
f, a, b = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (cut[..., :3] / 255, cut[..., 3:] / 255, evening))
ours = torch.from_numpy(scenes[name]).permute(2, 0, 1)[None]
theirs = compositing.composite(f, b[:, :, : len(cut)], a)
torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
print(f"largest difference: {(ours - theirs).abs().max():.0e}, 1e-12 allowed")

# %% [markdown]
# `cutout` returns $F$, [the person's own colours](GLOSSARY.md#foreground-f). What if we take the photograph's colours,
# $I$, instead? **Predict** where you would see the difference on a black background.

# %%
name = list(photos)[1]
rim = finest(mattes[name][heads[name]][:64], 64)
black = [figures.over_colour(colours, mattes[name], "black") for colours in (photos[name], cutouts[name][..., :3])]
image_row(
    [picture[heads[name]][rim] for picture in (photos[name], *black)],
    ["photograph", "the photograph's colours, $I$", "the person's own colours, $F$"],
    caption="In the middle, a light rim: mixed pixels of $I$ still contain the old wall.",
)

# %% [markdown]
# So a matte alone is not enough for a clean composite. [Notebook 09](09_your_own_pictures.ipynb) builds the estimate of
# $F$.
#
# ## 4. Three outputs, one answer
#
# > "In MODNet, we divide the trimap-free matting objective into three parts: semantic estimation, detail
# > prediction, and semantic-detail fusion. We optimize them simultaneously via three branches." *(MODNet)*
#
# The parts are called [*sub-objectives*](GLOSSARY.md#sub-objective).
#
# | output | branch | question it answers | size |
# |---|---|---|---|
# | [semantics $s_p$](GLOSSARY.md#semantics-s_p) | S | Where is the person, roughly? | 1/16 of the input |
# | [details $d_p$](GLOSSARY.md#detail-d_p) | D | What does the border look like, strand by strand? | full |
# | matte $\alpha_p$ | F | Both together: what is $\alpha$ at each pixel? | full |
#
# The network halves its input five times, so both sides must be multiples of $2^5 = 32$. The authors bring the
# short side to 512 pixels. The checkpoint here was trained mostly at 384, and its header says so. `Matter` therefore
# brings the short side to 384<!-- short_side --> and rounds both sides down to multiples of 32. **Predict** the size of
# $s_p$ for Grace Hopper's 600 × 512 pixels.

# %% tags=["nbval-check-output"]
name = next(iter(photos))
rows, columns = network_size(*photos[name].shape[:2], matter.short_side)
prediction = matter.predict(photos[name])
record("short_side", matter.short_side)
print(f"the network sees {rows} x {columns}; s_p has a sixteenth of both: {rows // 16} x {columns // 16}")
print({output: array.shape for output, array in prediction._asdict().items()})

# %% [markdown]
# The short side of 512 is scaled by 3/4, so 600 becomes 450, which is rounded down to 448.
#
# $s_p$ is coarse on purpose: its target is a blurred thumbnail of the matte. $d_p$ is trained only in a band around the
# outline, the [transition region](GLOSSARY.md#transition-region-m_d). The figure takes the band from the predicted
# matte and tints everything else blue: there, $d_p$ was never trained.

# %%
band = regions.transition_region(torch.from_numpy(prediction.alpha)[None, None], maybe=0.1)[0, 0].numpy() > 0
grey = prediction.detail[..., None]
detail = np.where(band[..., None], grey, 0.4 * grey + [0, 0.27, 0.42])
image_row(
    [prediction.semantic, detail, prediction.alpha],
    ["semantics $s_p$: the whole person, roughly", "details $d_p$: the outline", "matte $\\alpha_p$: the answer"],
)

# %% [markdown]
# **Predict**: where is $d_p$ closer to $\alpha_p$ on average, in its band or elsewhere?

# %%
distance = np.abs(prediction.detail - prediction.alpha)
print(f"{distance[band].mean():.3f} in the band, {distance[~band].mean():.3f} elsewhere")

# %% [markdown]
# Elsewhere, although nothing asks for it: outside the band the loss of $d_p$ is zero. Inside a coat or on a wall
# $\alpha$ is simply 1 or 0, and the band holds the hard pixels. Still, $d_p$ is unreliable outside the band: the tinted
# part of the figure has dark patches inside the person and light ones in the flag.
#
# $s_p$ and $d_p$ serve training. In use, the last layers that compute them, their *heads*, are skipped:

# %% tags=["nbval-check-output"]
output = matter.network(torch.zeros(1, 3, 64, 64, device=matter.device))
print({name: "computed" if value is not None else "skipped" for name, value in output._asdict().items()})

# %% [markdown]
# ## 5. Three ways to do without a trimap, Fig. 1
#
# > "Existing trimap-free matting methods either (a) require auxiliary inputs to address the complex matting
# > objective directly or (b) consist of multiple stages to address the matting sub-objectives sequentially. Both
# > of them are less suitable for real-time applications. Instead, (c) our MODNet solves the matting sub-objectives
# > simultaneously with only a single input image." *(Fig. 1)*
#
# ![Fig. 1. (a) With an auxiliary input: an image and a trimap or a background enter one matting network with one loss. (b) In several stages: one network makes a pseudo trimap or a mask, a second one makes the matte, each with its own loss. (c) MODNet: branches S, D and F of one network give semantics, details and matte from the image alone, with three losses optimised at once.](figures/fig1.svg)
#
# In (a) somebody must make the second input. In (b) an error of the first network is passed on to the second. In
# (c) all parts learn at the same time, each from its own target. Whether that is better is a question for
# measurements: notebook 04 takes MODNet apart, and 06 compares it with other methods.
#
# ## 6. Where it fails
#
# Three tests need no labels: turn a person upside down, make a person small, and show something that is no person.
# For each we have a reference: the network's own upright matte, turned over; the exact matte of the drawn portrait; and
# an empty matte. **Predict** which of the three tests the network passes.

# %%
small = np.zeros((384, 384, 4))
small[300:364, 160:224] = np.asarray(images.cover(np.dstack((drawn.foreground, drawn.alpha)), 64, 64)) / 255
far = blend(small[..., :3], drawn.background / 255, small[..., 3:])
tests = {"upside down": photos[name][::-1], "small": far, "no person": chelsea()}
truths = [prediction.alpha[::-1], small[..., 3], np.zeros(chelsea().shape[:2])]
answers = [matter.alpha(picture) for picture in tests.values()]
image_row([*tests.values(), *answers], [*tests, *["the matte"] * 3], columns=3)

# %% [markdown]
# The mean over the whole picture hides a small person, because almost all pixels are background. So we also divide the
# summed error by the person's area. Then 1 means "as bad as an empty matte".

# %%
lines = ["| | mean error of a pixel | error per person |", "|---|---:|---:|"]
cases = [*tests, "drawn portrait, large"], [*answers, matter.alpha(drawn.image)], [*truths, exact[..., 0]]
for title, answer, truth in zip(*cases, strict=True):
    error, area = np.abs(answer - truth), truth.sum()
    lines.append(f"| {title} | {error.mean():.3f} | {f'{error.sum() / area:.2f}' if area else 'nobody is there'} |")
    if area:
        record(title.replace(", ", "_").replace(" ", "_") + "_per_person", error.sum() / area)
Markdown("\n".join(lines))

# %% [markdown]
# None of them. By the mean error, the small person is the best answer of all. Per person, the error is
# 0.41<!-- small_per_person -->, against 0.03<!-- drawn_portrait_large_per_person --> for the same portrait, large. Upside
# down, the error is 0.50<!-- upside_down_per_person -->, as large as if half of Grace Hopper were missing. And the cat
# is taken for a person. Run these three tests before you trust a matting model. The authors name another limit of
# theirs: strong motion blur in videos (*Conclusion*).
#
# ## 7. The inspector
#
# A fourth test is a worse camera: a dark room, or a tiny picture that was enlarged.

# %%
photo = photos[list(photos)[1]]
dark, tiny = (0.2 * photo).astype(np.uint8), images.cover(images.cover(photo, 48, 48), *photo.shape[:2])
image_row(
    [dark, matter.alpha(dark), tiny, matter.alpha(tiny)],
    ["a fifth of the light", "the matte", "enlarged from 48 pixels", "the matte"],
    caption="Compare both mattes with the one in section 1.",
)

# %% [markdown]
# The network finds the astronaut both times. The helmet changes most: more of it is kept in the enlarged picture.
#
# In a running notebook, the next cell has controls for such tests. Choose a picture or upload your own. Select
# `alpha`, zoom to 4 along the hair, and set *beside it* to `input`. Then open the tab *disturb*. At which strength of
# blur, noise or JPEG does the matte break, and which of the three outputs breaks first?

# %% tags=["nbval-ignore-output"]
inspector.MatteInspector(matter, photos)

# %% [markdown]
# ## 8. The map of the series
#
# | notebook | the paper | the question |
# |---|---|---|
# | **00 start here** | abstract, Fig. 1 | What can it do? |
# | [01 dataset compositing](01_dataset_compositing.ipynb) | Eq. 1, Fig. 4, data recipe | Where do 45,000 labelled portraits come from? |
# | [02 building MODNet](02_building_modnet.ipynb) | Fig. 2–3, Eq. 2–5, 9–16, Appendix A | Why three branches, and what does e-ASPP save? |
# | [03 training](03_training.ipynb) | "Results", pre-training | How is it trained, watched and resumed? |
# | [04 ablation study](04_ablation_study.ipynb) | Table 3 | Which part earns what? |
# | [05 PPM-100 evaluation](05_ppm100_evaluation.ipynb) | the protocol, Tables 1, 2, 5 | How good is it, and where does it fail? |
# | [06 baselines and efficiency](06_baselines_and_efficiency.ipynb) | Tables 1, 2, 5, Fig. 5, 6, 8 | Is it better and faster than the others? |
# | [07 SOC domain adaptation](07_soc_domain_adaptation.ipynb) | Eq. 6–8, Fig. 7, Table 4 | How does it adapt without labels? |
# | [08 OFD video demo](08_ofd_video_demo.ipynb) | Fig. 7, Fig. 9, Appendix D | How does one frame of delay remove flicker? |
# | [09 your own pictures](09_your_own_pictures.ipynb) | – | How do I use it on photographs and videos? |
#
# In a hurry? Read 00, 02 and 09.
#
# ## Results

# %%
ResultsTable("00_start_here", profile.name)

# %% [markdown]
# The paper shows none of these pictures. The numbers describe the model that ships here, not the authors'.
#
# ## What to believe, and what to use
#
# - **Believe** that a matte is more than a mask: Eq. 1 and exact mattes show it, and no network is involved.
# - **Believe** that one photograph can be enough, within limits. Three photographs and three failures are examples,
#   not a measurement; notebook 05 measures, with intervals.
# - **Do not** mistake this model for the authors'. It was trained on far fewer samples, and its mistakes are its own.
# - **Use** `cutout`, which returns $F$ and $\alpha$, rather than the matte alone, and look at the result on a dark and a
#   light background.
#
# ## Exercises
#
# `check_answer` checks all three and explains common mistakes. In a new cell, with your answer instead of the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("00.1", ...)
# ```
#
# **1.** A pixel is $(130, 130, 130)$. The background is black, and the hair is known to be $(200, 200, 200)$. What is
# $\alpha$? What do you know here that a photograph alone does not tell you?
#
# <details><summary>Answer</summary>
#
# $\alpha = 130 / 200 = 0.65$, from Eq. 1 with $B = 0$. Knowing $F$ and $B$ leaves one unknown for three equations.
# A green screen uses the same idea: it fixes $B$.
#
# ```python
# check_answer("00.1", 130 / 200)
# ```
#
# </details>
#
# **2.** In a studio, the same person stands still in front of a black and then in front of a white wall. Write
# `two_walls(on_black, on_white)`, which takes both photographs, (H, W, 3) in [0, 1], and returns the exact $\alpha$,
# (H, W), without any network. Hint: write Eq. 1 for both walls, subtract, and average the three channels.
#
# <details><summary>Answer</summary>
#
# $I_w - I_b = (1 - \alpha)(1 - 0)$, so $F$ drops out. Two photographs give six equations for four unknowns.
#
# ```python
# def two_walls(on_black, on_white):
#     return 1 - (on_white - on_black).mean(axis=2)
#
#
# check_answer("00.2", two_walls)
# ```
#
# </details>
#
# **3.** `Matter.from_pretrained(short_side=256)` shows the network a smaller picture. Predict the shape of
# $s_p$ for Grace Hopper (rows, columns), then try it. What happens to the hair?
#
# <details><summary>Answer</summary>
#
# The input is $288 \times 256$ (300 rounded down to a multiple of 32), so $s_p$ is $18 \times 16$. The matte is
# computed from fewer pixels and enlarged afterwards, so the outline of the hair becomes softer.
#
# ```python
# check_answer("00.3", (288 / 16, 256 / 16))
# ```
#
# </details>
#
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. W. H. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective
#   Decomposition.* AAAI 2022.
# - A. R. Smith, J. F. Blinn. *Blue Screen Matting.* SIGGRAPH 1996 (exercise 2).
# - Photographs: Grace Hopper (sample data of matplotlib), the astronaut Eileen Collins, the camera man and the cat Chelsea
#   (sample data of scikit-image).
#
# **Next:** [01 Dataset compositing](01_dataset_compositing.ipynb)
