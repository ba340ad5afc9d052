# %% [markdown]
# # 00 Start here: can one photograph be enough to cut a person out, hair included?
#
# MODNet (Ke et al., AAAI 2022) says yes, with a network of three branches. This series rebuilds it from the
# paper. Here you only use it: you matte two real photographs, look inside, and get the map of the series.

# %% [markdown]
# ## You will be able to
#
# - say what a [matte](GLOSSARY.md#alpha-matte) is, and why a segmentation mask is not one;
# - matte a photograph in two lines and put the person before another background;
# - tell the network's three outputs apart and say which one is the answer;
# - judge a matte, and know where this model fails.

# %% [markdown]
# ## Needs
#
# No download and no GPU: the photographs ship inside matplotlib and scikit-image, the trained network with the
# project. Reading takes about 17 minutes. The smoke profile takes about 25 seconds on two CPU cores.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, full or paper; see notebooks/profiles

# %%
import numpy as np
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from scipy import ndimage
from skimage.data import astronaut, chelsea

from modnet_lib.data.sets import drawn_people
from modnet_lib.inference import Matter
from modnet_lib.inference.matter import network_size
from modnet_lib.notebook.figures import checkerboard, image_row, over_colour, show_prediction, use_style
from modnet_lib.notebook.inspector import MatteInspector
from modnet_lib.notebook.results import ResultsTable, record
from modnet_lib.profiles import Profile

profile = Profile.load(PROFILE)
use_style()

# %% [markdown]
# ## 1. A matte is not a mask
#
# > "The purpose of the image matting task is to extract the desired foreground $F$ from a given image $I$. This
# > task predicts an alpha matte with a precise foreground probability value $\alpha$ for each pixel $i$ as:"
# >
# > $$I^i = \alpha^i F^i + (1 - \alpha^i) B^i \qquad (1)$$
# >
# > *Related Works, Image Matting*
#
# A hair is thinner than a pixel. The pixel then records a *mixture* of hair and sky, and $\alpha$ says how much of
# it is hair. A segmentation mask must choose 0 or 1.
#
# Do one pixel by hand. Hair $F = (60, 40, 20)$ covers $\alpha = 0.3$ of it, before sky $B = (200, 220, 240)$.
# Red is $0.3 \cdot 60 + 0.7 \cdot 200 = 158$. What are green and blue?

# %% tags=["nbval-check-output"]
hair, sky = np.array([60, 40, 20]), np.array([200, 220, 240])
pixel = 0.3 * hair + 0.7 * sky
print(pixel.round().astype(int))

# %% [markdown]
# The way back is the hard part.
#
# > "This problem is ill-posed since all variables on the right hand side are unknown." *(Related Works)*
#
# Count them: three known numbers (the colours of $I$) against seven unknown ones (three for $F$, three for
# $B$, one for $\alpha$). Two quite different answers can explain the same grey pixel:

# %% tags=["nbval-check-output"]
white, black, grey = 255.0, 0.0, 127.5
half_white = 0.5 * white + 0.5 * black  # half a white hair before black
solid_grey = 1.0 * grey + 0.0 * black  # a grey coat
print("same pixel:", half_white == solid_grey)

# %% [markdown]
# No single pixel can settle this. The network has to know what people look like, so it needs *semantics* as well
# as fine detail.
#
# To see mixed pixels, take a portrait that a program draws strand by strand. Its $\alpha$ is the covered area of
# each pixel, not an estimate. Eq. 1 makes the image.

# %%
portrait, other = (read() for read in drawn_people(8, "validation").readers[6:])
exact, scene = portrait.alpha / 255, portrait.background
alpha = exact[..., None]
drawn = (alpha * portrait.foreground + (1 - alpha) * scene).round().astype(np.uint8)
mask = exact >= 0.5  # what a perfect segmentation would say

# %%
corner = slice(16, 112), slice(110, 206)
image_row(
    [drawn, drawn[corner], exact[corner], mask[corner]],
    ["drawn portrait", "zoom into the hair", "matte: every strand", "mask: strands lost or thick"],
    caption="Compare the two maps on the right: the mask keeps a strand wholly or drops it, the matte keeps its share.",
)

# %% [markdown]
# Put the person on plain green twice, once with the matte and once with the mask, always with the true $F$. The
# first result is the truth by Eq. 1. Guess where the second errs: everywhere a little, or only at mixed pixels?

# %% tags=["nbval-check-output"]
mixed = (exact > 0.05) & (exact < 0.95)
truth = over_colour(portrait.foreground, exact, "green").astype(float)
error = np.abs(over_colour(portrait.foreground, mask, "green") - truth).mean(axis=2)
print("more than 2 % of the pixels are mixed:", mixed.mean() > 0.02)
print("error at mixed pixels over ten times the error elsewhere:", error[mixed].mean() > 10 * error[~mixed].mean())

# %% [markdown]
# The error sits in the mixed pixels: few of all pixels, but the ones that decide whether a cut-out looks real.
#
# ## 2. A first matte of real photographs
#
# > "MODNet inputs a single RGB image and applies explicit constraints to solve matting sub-objectives
# > simultaneously in one stage." *(Introduction)*
#
# "Single" is the point. Many methods want a [*trimap*](GLOSSARY.md#trimap) too: a drawing that marks sure foreground, sure background
# and an unknown band. `Matter` holds the network that ships with this project and needs only the picture.

# %% tags=["nbval-check-output"]
with get_sample_data("grace_hopper.jpg") as file:
    hopper = np.asarray(Image.open(file).convert("RGB"))
photos = {"Grace Hopper": hopper, "astronaut": astronaut()}
for name, photo in photos.items():
    print(f"{name}: {photo.shape[0]} rows, {photo.shape[1]} columns")

# %% [markdown]
# The network halves its input five times, so both sides must be multiples of $2^5 = 32$. The authors bring the
# short side to 512 and round each side down. By hand for Grace Hopper: the short side is 512 already, and
# $\lfloor 600 / 32 \rfloor \cdot 32 = 576$. The astronaut is $512 \times 512$ and stays.
# The checkpoint that ships was trained mostly at 384 pixels and says so in its header, so `Matter` takes 384 for it.

# %% tags=["nbval-check-output"]
for name, photo in photos.items():
    print(name, network_size(*photo.shape[:2]))

# %% [markdown]
# Now the two lines. `predict` returns the matte together with what the other two branches say; `alpha` would
# return the matte alone, `cutout` an RGBA picture.

# %%
matter = Matter.from_pretrained(device=profile.device)
predictions = {name: matter.predict(photo) for name, photo in photos.items()}

# %%
pairs = [(p.image, p.alpha, checkerboard(p.image, p.alpha)) for p in predictions.values()]
image_row(
    [picture for pair in pairs for picture in pair],
    ["photograph", "matte", "cut-out"] * 2,
    caption="Look for the whole person, for holes inside the body, and at the outline of the hair.",
)

# %% [markdown]
# Now count. The shares of foreground and of mixed pixels describe a matte, and so do its pieces and its *holes*:
# islands of background that do not reach the picture's border. Islands under 0.05 % of the picture are ignored.


# %%
def islands(region: np.ndarray, inside_only: bool = False) -> int:
    """Connected parts of a boolean map that are larger than 0.05 % of it."""
    labels, count = ndimage.label(region)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    parts = np.flatnonzero(sizes > 0.0005 * region.size)
    border = np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))
    return len(set(parts) - {0} - (set(border) if inside_only else set()))


# %% [markdown]
# Check it where the answer is known: a ring is one piece with one hole.

# %% tags=["nbval-check-output"]
rows, columns = np.mgrid[:64, :64] - 31.5
ring = (np.hypot(rows, columns) < 25) & (np.hypot(rows, columns) > 10)
print("pieces:", islands(ring), "holes:", islands(~ring, inside_only=True))

# %% [markdown]
# Then the two photographs. Later runs of this notebook are compared with these recorded numbers.

# %%
for name, prediction in predictions.items():
    key, matte = name.split()[-1].lower(), prediction.alpha
    record(f"{key}_foreground", 100 * (matte > 0.5).mean(), unit="%")
    record(f"{key}_mixed", 100 * ((matte > 0.05) & (matte < 0.95)).mean(), unit="%")
    record(f"{key}_pieces", islands(matte > 0.5))
    record(f"{key}_holes", islands(matte < 0.5, inside_only=True))

# %% [markdown]
# A good matte of one person has one piece, only the holes that the person has, and few mixed pixels. Many mixed
# pixels mean that the network is unsure over whole areas.
#
# In the stored run Grace Hopper comes out in one piece, with a small grey patch at the crown of her cap. The astronaut
# is whole, but of the helmet in her arm only the rim is left. The network has seen street photographs, where helmets
# are rare and nobody stands so near. [Its card](../data/checkpoints/README.md) says what else it lacks.
#
# ## 3. New backgrounds
#
# With $\alpha$ known you may choose another $B$ in Eq. 1. `cutout` stores colours and matte in one RGBA picture.
# Predict its size for Grace Hopper (Pillow says width first).

# %% tags=["nbval-check-output"]
cut = matter.cutout(hopper)
print(cut.mode, cut.size)

# %%
new_scene = np.asarray(Image.fromarray(other.background).resize((600, 600)).crop((0, 0, 512, 600))) / 255
p = predictions["Grace Hopper"]
image_row(
    [p.image, over_colour(p.image, p.alpha, "#00B140"), over_colour(p.image, p.alpha, new_scene)],
    ["photograph", "over green", "in front of a drawn scene"],
    caption="Look along the outline: a rim in the colour of the old background is the fringe explained below.",
    height=2.2,
)

# %% [markdown]
# These composites use $I$ where Eq. 1 says $F$. At a mixed pixel $I$ already contains some of the old background,
# and that part travels along as a coloured fringe. The drawn portrait, whose $F$ is known, shows how much of it
# there is.

# %%
image_row(
    [over_colour(drawn, exact, "#00B140")[corner], over_colour(portrait.foreground, exact, "#00B140")[corner]],
    ["exact matte, colours of $I$", "exact matte, true $F$"],
    caption="Left: strands carry the old room. Right: the same matte with the person's own colours.",
    height=2.0,
)

# %% [markdown]
# So the matte alone is not enough for a perfect composite. [Notebook 01](01_dataset_compositing.ipynb) estimates
# [$F$](GLOSSARY.md#foreground-f) as well, because training needs it too.
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
# | [semantics $s_p$](GLOSSARY.md#semantics-s_p) | S | Where is the person, roughly? | 1/16 |
# | [details $d_p$](GLOSSARY.md#detail-d_p) | D | What does the border look like, strand by strand? | full |
# | matte $\alpha_p$ | F | Both together: what is $\alpha$ at each pixel? | full |
#
# Predict the sizes for Grace Hopper's $576 \times 512$ input. $s_p$ has $576 / 16 = 36$ rows and
# $512 / 16 = 32$ columns. The other two are brought back to the photograph's size.

# %% tags=["nbval-check-output"]
for name, output in p._asdict().items():
    print(f"{name:8}", output.shape)

# %%
show_prediction(p)

# %% [markdown]
# $s_p$ is coarse on purpose: its target is a blurred thumbnail of the matte. $d_p$ is trained in a narrow band
# around the outline only, so whatever it shows elsewhere means nothing. How far is it from $\alpha_p$ near the
# outline, and how far elsewhere?

# %%
for name, prediction in predictions.items():
    person = prediction.alpha > 0.5
    band = ndimage.binary_dilation(person, iterations=8) & ~ndimage.binary_erosion(person, iterations=8)
    distance = np.abs(prediction.detail - prediction.alpha)
    print(f"{name}: {distance[band].mean():.3f} within 8 pixels of the outline, {distance[~band].mean():.3f} elsewhere")

# %% [markdown]
# Nothing in training asked for a small second number, since the loss of $d_p$ is zero outside the band.
# The first two outputs help training, they are not needed for an answer. In use their heads are skipped:

# %% tags=["nbval-check-output"]
output = matter.network(torch.zeros(1, 3, 64, 64, device=matter.device))
print({name: value is not None for name, value in output._asdict().items()})

# %% [markdown]
# ## 5. Three ways to do without a trimap (Fig. 1)
#
# > "Existing trimap-free matting methods either (a) require auxiliary inputs to address the complex matting
# > objective directly or (b) consist of multiple stages to address the matting sub-objectives sequentially. Both
# > of them are less suitable for real-time applications. Instead, (c) our MODNet solves the matting sub-objectives
# > simultaneously with only a single input image." *(Fig. 1)*
#
# ![Fig. 1. (a) With an auxiliary input: an image and a trimap or a background enter one matting network with one loss. (b) In several stages: one network makes a pseudo trimap or a mask, a second one makes the matte, each with its own loss. (c) MODNet: branches S, D and F of one network give semantics, details and matte from the image alone, with three losses optimised at once.](figures/fig1.svg)
#
# Compare what goes in and how many networks stand in a row. In (a) somebody must make the second input. In (b) an error of
# the first network becomes the input of the second. In (c) all parts learn at the same time, each from its own target.
# Whether that is better is a question for measurements: notebook 04 takes MODNet apart, 06 compares it with the others.
#
# ## 6. Where it fails
#
# The shipped network was trained on two CPU cores, and not on the authors' data but on labelled street photographs
# with estimated mattes, and on drawn portraits. Expect less than the paper's figures show. Three tests make limits
# visible: turn a person upside down, make a person small, show something that is no person.

# %%
upside_down = hopper[::-1].copy()
small_alpha, small_colour = (
    np.asarray(Image.fromarray(part).resize((64, 64))) for part in (portrait.alpha, portrait.foreground)
)
share = np.zeros((384, 384, 1), dtype=np.float32)
share[300:364, 160:224, 0] = small_alpha / 255
colours = np.zeros_like(scene)
colours[300:364, 160:224] = small_colour
small = (share * colours + (1 - share) * scene).round().astype(np.uint8)
stress = {"upside down": upside_down, "small": small, "no person": chelsea()}
answers = {name: matter.alpha(picture) for name, picture in stress.items()}

# %%
image_row(
    [picture for name in stress for picture in (stress[name], answers[name])],
    [title for name in stress for title in (name, "its matte")],
    caption="A perfect answer: the same outline upside down, the small person alone, and nothing of the cat.",
)

# %% [markdown]
# All three have a reference without any labelling: the network's own matte of the upright photograph, the exact
# matte of the drawing, and nothing at all. The small person is that of section 1, at a sixth of the size.

# %%
references = {"upside down": p.alpha[::-1], "small": share[..., 0], "no person": 0.0}
for name, reference in references.items():
    print(f"{name:11}: mean absolute difference {np.abs(answers[name] - reference).mean():.3f} (0 is ideal)")
print(f"the person of section 1: {np.abs(matter.alpha(drawn) - exact).mean():.3f} for comparison")

# %% [markdown]
# Whatever these numbers are in your run, take the habit along: before you trust a matting model, turn the picture,
# shrink it, and show it an empty scene. The authors name a limit of their own network, videos with strong motion
# blur (*Conclusion*).
#
# ## 7. The map of the series
#
# | notebook | the paper | the question |
# |---|---|---|
# | **00 start here** | abstract, Fig. 1 | What can it do? |
# | [01 dataset compositing](01_dataset_compositing.ipynb) | Eq. 1, Fig. 4, data recipe of "Results" | Where do 45,000 labelled portraits come from? |
# | [02 building MODNet](02_building_modnet.ipynb) | Fig. 2–3, Eq. 2–5, 9–16, Appendix A | Why three branches, and what does e-ASPP save? |
# | [03 training](03_training.ipynb) | "Results", pre-training | How is it trained, watched and resumed? |
# | [04 ablation study](04_ablation_study.ipynb) | Table 3 | Which part earns what? |
# | [05 PPM-100 evaluation](05_ppm100_evaluation.ipynb) | the protocol, Tables 1, 2, 5 | How good is it, and where does it fail? |
# | [06 baselines and efficiency](06_baselines_and_efficiency.ipynb) | Tables 1, 2, 5, Fig. 5, 6, 8 | Is it better and faster than the others? |
# | [07 SOC domain adaptation](07_soc_domain_adaptation.ipynb) | Eq. 6–8, Fig. 7, Table 4 | How does it adapt without labels? |
# | [08 OFD video demo](08_ofd_video_demo.ipynb) | Fig. 7, Fig. 9, Appendix D | How does one frame of delay remove flicker? |
# | [09 your own pictures](09_your_own_pictures.ipynb) | – | How do I use it on photographs and videos? |
#
# ## 8. The inspector
#
# First a plain figure. In a running notebook the second cell then gives controls: choose a picture or upload yours,
# and zoom in. Start with `alpha` at zoom 4 along the hair, then switch to `detail` without moving.

# %%
show_prediction(predictions["astronaut"])

# %%
MatteInspector(matter, photos)

# %% [markdown]
# ## 9. Results

# %%
ResultsTable("00_start_here", profile.name)

# %% [markdown]
# The paper shows neither photograph, so its column is empty. The numbers describe our model, not the paper's.
#
# ## Summary
#
# - A matte stores the *share* of foreground in each pixel. A mask can only say yes or no, and errs at mixed pixels.
# - Recovering $\alpha$ from one picture is ill-posed. The network needs knowledge of people, so it estimates
#   semantics as well as details.
# - MODNet gives three outputs. $\alpha_p$ is the answer, $s_p$ and $d_p$ serve training and inspection.
# - A new background needs $\alpha$ and $F$. With $I$ in the place of $F$ the old background shows as a fringe.
#
# ## Exercises
#
# Some check themselves, and a wrong answer is told why. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("00.1", ...)
# ```
#
# 1. A pixel is $(130, 130, 130)$. The background is black, and the hair is known to be $(200, 200, 200)$. What is
#    $\alpha$? Which extra knowledge made the problem solvable?
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
# 2. Why does `islands` count holes only where the background does not touch the border? Which real picture would
#    fool the count?
#
# <details><summary>Answer</summary>
#
# Background that touches the border is simply the surroundings. A hand on the hip encloses real background between
# arm and body, and the count calls it a hole.
#
# </details>
#
# 3. `matter = Matter.from_pretrained(short_side=256)` shows the network a smaller picture. Predict the shape of
#    $s_p$ for Grace Hopper (`"00.3"`: rows, columns), then try it. What happens to the hair?
#
# <details><summary>Answer</summary>
#
# The input is $288 \times 256$ (300 rounded down to a multiple of 32), so $s_p$ is $18 \times 16$. The matte is
# computed on half the pixels per side and enlarged afterwards, so strands thinner than its pixels blur.
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
# - N. Xu, B. Price, S. Cohen, T. Huang. *Deep Image Matting.* CVPR 2017.
# - Photographs: Grace Hopper (sample data of matplotlib), the astronaut Eileen Collins and the cat Chelsea (sample
#   data of scikit-image).
#
# **Next:** [01 Dataset compositing](01_dataset_compositing.ipynb)
