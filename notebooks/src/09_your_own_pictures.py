# %% [markdown]
# # 09 Your own pictures: what turns a matte into a picture that you can use?
#
# A matte alone is not yet a picture. This notebook does the rest, on your own photograph if you like: clean colours at
# the edges, another background, large pictures, folders, clips, a camera, speed, and a file that runs without PyTorch.

# %% [markdown]
# ## You will be able to
#
# - store a cut-out so that other programs show it correctly;
# - explain why hair glows after a change of background, and write the method that removes the glow;
# - matte pictures larger than the network's input, folders with broken files, clips and a camera;
# - make the network faster without changing its answer;
# - export it for programs that do without PyTorch, and put it into a web service.
#
# ## Contents
#
# 1. [Three ways in, one matte](#1.-Three-ways-in,-one-matte)
# 2. [Straight and premultiplied](#2.-Straight-and-premultiplied)
# 3. [Why hair glows](#3.-Why-hair-glows)
# 4. [The person's own colours](#4.-The-person's-own-colours)
# 5. [Another background](#5.-Another-background)
# 6. [Photographs larger than the network](#6.-Photographs-larger-than-the-network)
# 7. [A folder of a thousand](#7.-A-folder-of-a-thousand)
# 8. [Clips and cameras](#8.-Clips-and-cameras)
# 9. [The same answer, sooner](#9.-The-same-answer,-sooner)
# 10. [Without PyTorch](#10.-Without-PyTorch)
# 11. [In your application](#11.-In-your-application)
#
# ## Needs
#
# Notebook [00](00_start_here.ipynb). No download and no GPU.
# Reading takes about 24 minutes. The smoke profile takes about 15 seconds on two CPU cores.
#
# Put the path of your own photograph into `PICTURE`. If it is empty, the notebook takes one that ships with
# scikit-image.

# %% tags=["parameters"]
PROFILE = "smoke"  # smoke, laptop, overnight, full or paper; see notebooks/profiles
PICTURE = ""  # for instance "~/me.jpg"

# %%
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from typer.testing import CliRunner

from modnet_lib import cli, data, profiles
from modnet_lib.inference import Matter, deploy, edges, encode, media, video
from modnet_lib.notebook import figures, inspector, portraits, results

# %% [markdown]
# ## 1. Three ways in, one matte
#
# The first is Python. `from_pretrained` reads the shipped checkpoint and chooses the device and a fast form of the
# network. Section 9 checks that this form gives the same answer.

# %%
figures.use_style()
profile = profiles.Profile.load(PROFILE)
recorded = results.recorded_run("09_your_own_pictures")
matter = Matter.from_pretrained(device=profile.device)
people = list(portraits.portraits(profile.data).values())
person = matter.predict(str(Path(PICTURE).expanduser()) if PICTURE else people[1])
image, alpha = person.image, person.alpha

# %%
figures.image_row([image, alpha, figures.checkerboard(image, alpha)], ["photograph", "matte", "cut-out on squares"])

# %% [markdown]
# The second is the shell: `modnet matte IN OUT`, for a picture, a folder or a pipe; `--alpha` asks for the matte alone.
# The next cell runs the same program inside this notebook and prints what you would see.

# %% tags=["nbval-check-output"]
WORK = Path(tempfile.mkdtemp())


def shell(*arguments):
    """Run `modnet …` and print the command, its last words and its exit code."""
    device = ("--device", profile.device) if profile.device else ()
    result = CliRunner().invoke(cli.app, [str(one) for one in (*arguments, *device)])
    said = result.stderr.replace(f"{WORK}/", "")
    for code in ("\x1b[31m", "\x1b[0m", "\x1b[?25l", "\x1b[?25h"):  # colours and the cursor of a terminal
        said = said.replace(code, "")
    print("$ modnet", *(one.name if isinstance(one, Path) else one for one in arguments))
    print(*(line for line in said.splitlines() if line and "━" not in line), sep="\n")
    print("exit code", result.exit_code)


photo = WORK / "me.png"
Image.fromarray(image).save(photo)
shell("matte", photo, WORK / "matte.png", "--alpha")

# %% [markdown]
# The third is the widget of section 11. **Predict**: a PNG stores 256 levels. How far may the file be from the array?

# %% tags=["nbval-check-output"]
widget = inspector.MatteInspector(matter, {"me": photo})
written = np.asarray(Image.open(WORK / "matte.png")).astype(int)
print("shell:  largest difference", np.abs(written - np.round(255 * alpha)).max(), "levels, 0 allowed")
print("widget: largest difference", np.abs(widget.prediction("me").alpha - alpha).max(), "of 1, 0 allowed")

# %% [markdown]
# A level is 1/255, so rounding moves a value by up to half a level, 1/510. Apart from this, all three are equal: one
# function does the work behind them.
#
# ## 2. Straight and premultiplied
#
# A cut-out is a picture with four channels. Two conventions exist for its colours
# ([straight and premultiplied](GLOSSARY.md#straight-premultiplied)): *straight* keeps the colour as it is,
# *premultiplied* multiplies it by $\alpha$. PNG and WebP are straight; many compositing programs work premultiplied.
# Take a bright, almost transparent hair, $\alpha = 0.01$, stored in 8 bits. **Predict** what premultiplied storage does
# to its colour.


# %% tags=["nbval-check-output"]
def straight(colours, alpha):
    """Colours as they are, and the matte as a fourth channel, in 8 bits."""
    return np.dstack((colours, np.round(255 * alpha))).astype(np.uint8)


def premultiplied(colours, alpha):
    """Colours times alpha: what Eq. 1 adds to the background."""
    return np.dstack((np.round(colours * alpha[..., None]), np.round(255 * alpha))).astype(np.uint8)


hair, faint = np.array([[[200, 150, 90]]]), np.array([[0.01]])
stored = premultiplied(hair, faint)[0, 0].astype(int)
print("straight:     ", straight(hair, faint)[0, 0])
print("premultiplied:", stored, "which is read as", (255 * stored[:3] / stored[3]).round().astype(int))

# %% [markdown]
# Premultiplied, the hair comes back in another colour, because only the levels 0 to 3 are left for it. A program that
# reads a file in the wrong convention shows edges too dark or too bright. The library stores straight alpha, as the
# function above does:

# %% tags=["nbval-check-output"]
difference = np.abs(straight(image, alpha).astype(int) - edges.compose(image, alpha, "transparent"))
assert not difference.any()
print("largest difference:", difference.max(), "levels, 0 allowed")

# %% [markdown]
# ## 3. Why hair glows
#
# > [$\mathcal{L}_c$] measures the absolute difference between input image $I$ and the composited image obtained from
# > $\alpha_p$, the ground truth foreground, and the ground truth background.
# >
# > — section "Semantic-Detail Fusion"
#
# A [composite](GLOSSARY.md#compositing) needs $F$, the person's own colours. A photograph has $I$, and at a mixed pixel
# $I = \alpha F + (1 - \alpha) B$ still contains some of the old background. Use $I$ instead of $F$, and
#
# $$\alpha I + (1 - \alpha) B' = \underbrace{\alpha F + (1 - \alpha) B'}_{\text{wanted}} + \alpha (1 - \alpha)(B - F).$$
#
# **Predict**: at which $\alpha$ is this glow strongest, and which share of $B - F$ is it there?
#
# <details><summary>Answer</summary>
#
# $\alpha (1 - \alpha)$ is largest at $\alpha = 1/2$, where it is $1/4$.
#
# </details>
#
# We need $F$, and Eq. 1 alone cannot give it, even if $\alpha$ is known: each channel of a pixel has one equation and
# two unknowns, $F$ and $B$. Neighbours help. $F$ and $B$ usually change slowly, so a pixel can use what its four
# neighbours have found.
#
# ## 4. The person's own colours
#
# Germer et al. (2020) do exactly that. For a pixel, they minimise
#
# $$\big(\alpha F + (1 - \alpha) B - I\big)^2 + \sum_{n} w_n \big((F - F_n)^2 + (B - B_n)^2\big),
# \qquad w_n = 10^{-5} + |\alpha - \alpha_n|,$$
#
# with a sum over its neighbours $n$. Setting the derivatives to zero gives two linear equations for $F$ and $B$:


# %%
def solve(colour, alpha, neighbours, weights):
    """F and B of a pixel, (2, 3), from its colour (3,) and those of its neighbours (n, 2, 3)."""
    share = np.array([alpha, 1 - alpha])
    matrix = np.outer(share, share) + weights.sum() * np.eye(2)
    right = np.outer(share, colour) + np.einsum("n,nkc->kc", weights, neighbours)
    return np.linalg.solve(matrix, right).clip(0, 1)


# %% [markdown]
# Try it on one mixed pixel: grey 0.6, $\alpha = 0.5$. One neighbour, inside the person, has $F = 0.2$; another, in the
# background, has $B = 0.9$. Both still have a first guess of 0.5 for the other colour. **Predict**: will $F$ be below or
# above 0.2?

# %% tags=["nbval-check-output"]
inside, outside = [[0.2] * 3, [0.5] * 3], [[0.5] * 3, [0.9] * 3]
found = solve(np.full(3, 0.6), 0.5, np.array([inside, outside]), np.array([0.5, 0.5]))
print("F =", found[0, 0].round(2), " B =", found[1, 0].round(2), " and back by Eq. 1:", found.mean(axis=0)[0].round(2))

# %% [markdown]
# Above 0.2: the neighbours pull $F$ towards their mean, 0.35, and Eq. 1 raises it a little, because the pixel is
# brighter than the two means mixed. Guesses spoil a single solution, so sweep over the picture several times. To carry
# colours far in few sweeps, begin with a picture of one pixel and roughly double its size step by step.


# %%
def sweep(image, alpha, colours):
    """Solve every pixel once, in place; colours (H, W, 2, 3)."""
    height, width = alpha.shape
    for y, x in np.ndindex(height, width):
        rows = [y, y, max(y - 1, 0), min(y + 1, height - 1)]
        columns = [max(x - 1, 0), min(x + 1, width - 1), x, x]
        weights = 1e-5 + np.abs(alpha[y, x] - alpha[rows, columns])
        colours[y, x] = solve(image[y, x], alpha[y, x], colours[rows, columns], weights)


def own_colours(image, alpha, sweeps=10):
    """F and B of a square picture, (N, N, 2, 3), from one pixel to N, in [0, 1]."""
    size, levels = len(alpha), int(np.ceil(np.log2(len(alpha))))
    colours = np.array([[[image[alpha > 0.9].mean(axis=0), image[alpha < 0.1].mean(axis=0)]]])
    for level in range(levels + 1):
        side = round(size ** (level / levels))
        larger, thinned = np.arange(side) * len(colours) // side, np.arange(side) * size // side
        colours = colours[np.ix_(larger, larger)]
        for _ in range(sweeps):
            sweep(image[np.ix_(thinned, thinned)], alpha[np.ix_(thinned, thinned)], colours)
    return colours


# %% [markdown]
# The library calls pymatting's compiled version of this method, block by block. Compare it with ours on 24 × 24 pixels
# of a drawn portrait, whose $F$ is known exactly:

# %%
drawn = data.sets.drawn_people(8, "validation").readers[6]()
exact, window = drawn.alpha / 255, figures.finest(drawn.alpha, 24)
ours = np.round(255 * own_colours(drawn.image[window] / 255, exact[window])[:, :, 0])
theirs = edges.clean_foreground(drawn.image[window], exact[window])
mixed = (exact > 0.05) & (exact < 0.95)
difference = np.abs(ours - theirs)[exact[window] < 1].max()
assert difference <= 1
print(f"largest difference: {difference:.0f} of 255 levels, 1 allowed")
figures.image_row(
    [drawn.image[window], ours / 255, drawn.foreground[window], exact[window]],
    ["picture", "our estimate of $F$", "exact $F$", "matte"],
    caption="24 × 24 pixels of hair in front of a window and a curtain. The estimate has removed both.",
)

# %% [markdown]
# Now the whole picture, with the library's function. The maps show the error of the colours for a part of it, weighted
# by $\alpha$, because a colour that nobody sees does no harm.

# %%
clean = edges.clean_foreground(drawn.image, exact)
wrong = [exact * np.abs(colours.astype(float) - drawn.foreground).mean(axis=2) for colours in (drawn.image, clean)]
for name, error in zip(("own_colours", "estimated"), wrong, strict=True):
    results.record(f"colour_error_{name}", error[mixed].sum() / exact[mixed].sum(), unit="levels")
part = figures.finest(drawn.alpha, 96)
figures.image_row(
    [drawn.image[part], wrong[0][part] / 20, wrong[1][part] / 20],
    ["picture", "error of the picture's own colours", "error of the estimate"],
    caption="White is an error of 20 levels or more.",
)

# %% [markdown]
# At mixed pixels the error falls from 33<!-- colour_error_own_colours --> to 9<!-- colour_error_estimated --> levels.
# In practice the matte is an estimate, too, and a wrong $\alpha$ gives wrong colours. The recorded run has eight drawn
# people. The error is 22<!-- recorded_with_old_background --> levels with the picture's own colours,
# 8<!-- recorded_clean_true_matte --> with an estimate from the true matte, and
# 16<!-- recorded_clean_predicted_matte --> with one from the network's matte.
#
# On the photograph there is no truth, but you can see the effect:

# %%
for name in ("with_old_background", "clean_true_matte", "clean_predicted_matte"):
    results.record(f"recorded_{name}", recorded["edges"][name], unit="levels")
own = edges.clean_foreground(image, alpha)
head = figures.finest(alpha[: len(alpha) // 3], 128)
rim = [edges.compose(colours, alpha, "black")[head] for colours in (image, own)]
figures.image_row(
    [image[head], *rim],
    ["photograph", "on black, with $I$", "on black, with the estimate of $F$"],
    caption="Middle: a light rim around the hair, clearest on the left. Right: it is gone.",
)

# %% [markdown]
# ## 5. Another background
#
# `cutout` returns RGBA with estimated colours. `composite` also applies Eq. 1, with a colour, a picture or `"blur"`, the
# photograph's own background out of focus. Blurring has a pitfall. **Predict**: what happens around the person if you
# simply blur the photograph and put the person back?

# %%
plain = np.asarray(matter.composite(image, "#3b5b7a"))
blurred = Image.fromarray(image).resize((24, 24), Image.Resampling.BOX).resize(image.shape[1::-1])
smeared = edges.compose(own, alpha, np.asarray(blurred))
figures.image_row(
    [plain, smeared, np.asarray(matter.composite(image, "blur"))],
    ["a colour", "person on the blurred photograph", "person on the blurred background"],
    caption="Middle: a halo of the person's own colours. Right: no halo.",
)

# %% [markdown]
# A plain blur smears the person into the background. `"blur"` weights each pixel by its share of background,
# $1 - \alpha$, so that the person does not count. On the shell: `modnet matte --background blur me.jpg me.webp`.
#
# The picture is turned as its EXIF data say. Colours with a profile become sRGB, and every cut-out has 8 bits per
# channel. JPEG cannot hold a cut-out, and the program says so before it starts:

# %% tags=["nbval-check-output"]
shell("matte", photo, WORK / "me.jpg")

# %% [markdown]
# ## 6. Photographs larger than the network
#
# The network sees a short side of a few hundred pixels; a camera may deliver 4,000. Enlarged bilinearly, an edge of one
# pixel becomes about ten pixels wide. But the large photograph *has* the sharp edge. A
# [guided filter](GLOSSARY.md#guided-filter) (He et al.) describes $\alpha$ in each small window as a linear function of
# colour, $\alpha \approx a^\top I + b$, fits $a$ and $b$ to the coarse matte, and applies them to the fine picture.
# Here the network sees the camera man at only 128 pixels:

# %%
grey = people[2]
coarse = matter.resized(128).alpha(grey)
sharp = edges.sharpen(coarse, grey, min(grey.shape[:2]) / 128)
hair = figures.finest(coarse[: len(coarse) // 3], 128)
green = edges.compose(edges.clean_foreground(grey, sharp), sharp, "green")
figures.image_row(
    [grey[hair], coarse[hair], sharp[hair], green[hair]],
    ["photograph", "from 128 pixels, bilinear", "from 128 pixels, guided", "guided, on green"],
    caption="The guided matte shows single hairs that the matte from 128 pixels does not.",
)

# %% [markdown]
# **Predict**: where would this filter do harm?
#
# <details><summary>Answer</summary>
#
# In textures: the edges of a checked shirt are not edges of the person. So `sharpen` changes nothing where the network
# is sure: below 0.05 and above 0.95.
#
# </details>
#
# Is the result nearer to the truth? To find out, we shrink the exact matte of the drawn portrait to 64 pixels and enlarge
# it again, bilinearly and with the filter.

# %%
small = Image.fromarray(exact.astype(np.float32)).resize((64, 64), Image.Resampling.BILINEAR)
from_64 = np.array(small.resize(exact.shape[::-1], Image.Resampling.BILINEAR))
guided = edges.sharpen(from_64, drawn.image, len(exact) / 64)
sure = (from_64 < 0.05) | (from_64 > 0.95)
results.record("mad_bilinear_from_64", np.abs(from_64 - exact).mean())
results.record("mad_guided_from_64", np.abs(guided - exact).mean())
for name in ("grad", "mad"):
    results.record(f"large_{name}_saved", -recorded["values"][f"guided_{name}_change"])
print("sure pixels that changed:", (guided != from_64)[sure].sum(), "(0 allowed)")

# %% [markdown]
# The filter lowers the mean error from 0.021<!-- mad_bilinear_from_64 --> to 0.016<!-- mad_guided_from_64 -->. In the
# recorded run, on eight drawn pictures of 3,840 pixels with the network's own mattes, Grad (the error of the edges) falls
# by 33 %<!-- large_grad_saved --> and MAD by 11 %<!-- large_mad_saved -->.
#
# The filter is off by default, because the paper's protocol enlarges bilinearly. Switch it on with
# `Matter.from_pretrained(refine=True)` or `modnet matte --refine`. The picture is filtered in blocks, one at a time, to
# limit the memory that large pictures take.
#
# ## 7. A folder of a thousand
#
# In a large folder, some file is usually broken. It must not stop the rest. **Predict** what the program writes for
# three files, one of which is not a picture, and what a second run has to do.

# %% tags=["nbval-check-output"]
album = WORK / "photos"
(album / "2026").mkdir(parents=True)
Image.fromarray(image).save(album / "anna.png")
Image.fromarray(drawn.image).save(album / "2026" / "bert.jpg")
_ = (album / "broken.jpg").write_text("this is no picture")
shell("matte", album, WORK / "cutouts")
print(*sorted(str(file.relative_to(WORK)) for file in (WORK / "cutouts").rglob("*.png")), sep="\n", end="\n\n")
shell("matte", album, WORK / "cutouts")

# %% [markdown]
# Exit code 0 means success, 1 a mistake in the call, and 3 that some files failed. A file is written completely or not at
# all, so an interrupted run can resume.
#
# Several processes can share a folder: `torchrun --nproc_per_node 2 -m modnet_lib.cli matte photos cutouts`. Each of the
# two makes the same plan and takes every second picture of the *plan*. Why not every second one of those that are not
# written yet? (Exercise 3.)
#
# ## 8. Clips and cameras
#
# > It is much faster than contemporaneous methods and runs at 67 frames per second on a 1080Ti GPU.
# >
# > — section "Abstract"
#
# `modnet video` (`matte_video` in Python) cuts people out of a clip and keeps its sound and times. To get a clip without
# a camera, we set the photograph in motion: it pans, zooms and shakes, the light changes, and the sensor adds grain.

# %%
film, _ = portraits.set_in_motion(image, alpha, 6)
encode.write_clip(WORK / "clip.mp4", film, rate=6)
video.matte_video(matter, WORK / "clip.mp4", WORK / "out.mp4", background="#3b5b7a")
frames = [frame.image for frame in media.Clip(WORK / "out.mp4")]
figures.image_row(
    [film[0], frames[0], frames[-1]], ["first frame", "first frame on a colour", "last frame on a colour"]
)

# %% [markdown]
# [Notebook 08](08_ofd_video_demo.ipynb) explains the one-frame delay that removes flicker. A webcam is a clip that does not end.
# In a running notebook, this recipe shows you in front of green. Interrupt the kernel to stop it.
#
# ```python
# import cv2
# import ipywidgets
#
# view, small, camera = ipywidgets.Image(format="jpeg"), matter.resized(256), cv2.VideoCapture(0)
# display(view)
# while (seen := camera.read()[1]) is not None:
#     frame = seen[..., ::-1]  # OpenCV's order is blue, green, red
#     picture = edges.compose(frame, small.alpha(frame), "green")
#     view.value = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
# ```
#
# It uses $I$ instead of $F$, because estimating colours takes time, too. `matter.resized(256)` sees less than half of the
# pixels that the network sees at 384, so it answers sooner.
#
# ## 9. The same answer, sooner
#
# > Note that fewer parameters do not imply faster inference speed due to large feature maps or time-consuming mechanisms
# > […].
# >
# > — section "Results on AMD and PPM-100"
#
# After training, a batch norm is $y = s x + t$ with fixed $s$ and $t$ for each channel. The preceding convolution can
# take over both: this is called [folding](GLOSSARY.md#folding). The next cell writes it, and compares it with the two
# layers and with the PyTorch function that the library uses:


# %%
def fold(convolution, norm):
    """One convolution that does the work of both."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = torch.nn.Conv2d(convolution.in_channels, convolution.out_channels, convolution.kernel_size)
    folded.weight.data = convolution.weight * scale[:, None, None, None]
    folded.bias.data = (convolution.bias - norm.running_mean) * scale + norm.bias
    return folded.requires_grad_(False)


torch.manual_seed(0)
convolution, norm = torch.nn.Conv2d(3, 4, 3).eval().requires_grad_(False), torch.nn.BatchNorm2d(4).eval()
for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
    values.uniform_(0.5, 2)
x, one = torch.rand(1, 3, 8, 8), fold(convolution, norm)
torch.testing.assert_close(one(x), norm(convolution(x)).detach(), rtol=0, atol=1e-5)
torch.testing.assert_close(one.weight, torch.nn.utils.fuse_conv_bn_eval(convolution, norm).weight.detach())
print(f"largest difference: {(one(x) - norm(convolution(x))).abs().max():.0e}, 1e-5 allowed")

# %% [markdown]
# The library folds every norm of the network (`inference.deploy`) and puts the weights into a memory order that suits
# convolutions. `Matter` uses this form, `"fused"`, by default; `"eager"` is the network as it was trained.

# %%
eager = Matter(matter.network, backend="eager", device=profile.device)
change = np.abs(eager.alpha(image) - alpha).max()
assert change <= 1e-4
print(f"largest change of alpha: {change:.0e}, 1e-4 allowed")

# %% [markdown]
# How much time that saves depends on the machine. The figure shows the paper's network at 512 × 512, in the forms that
# `Matter(backend=…, dtype=…)` offers on a CPU, measured in turns in one recorded run. `"compiled"` passes the folded
# network through `torch.compile`. **Predict**: which saves more, folding or numbers of 16 bits (bfloat16)? What does the
# compiler add?

# %%
rows = {k.removeprefix("paper "): row["p50_ms"] for k, row in recorded["speed"]["rows"].items() if k[:5] == "paper"}
names = sorted(rows, key=rows.get, reverse=True)
figure = figures.make_figure(8, 2.8)
axes = figure.subplots()
colours = [figures.ORANGE if "bfloat16" in name else figures.BLUE for name in names]
bars = axes.barh(names, [rows[name] for name in names], color=colours)
axes.bar_label(bars, fmt="%.0f ms", padding=3)
axes.set(xlabel="median time of one picture, milliseconds", title="Two CPU cores, 512 × 512; orange: bfloat16")
results.record("speedup_fused", rows["eager float32"] / rows["fused float32"])
results.record("speedup_compiled_half", rows["eager float32"] / rows["compiled bfloat16"])
results.record("half_changes_alpha_by", recorded["half"]["mean_difference"])
figure

# %% [markdown]
# Folding and a better memory layout (`fused`) make the network 2.2<!-- speedup_fused --> times faster, with the same
# answer. bfloat16 alone saves about as much, and the compiler takes another quarter off. bfloat16, compiled, is
# 5.2<!-- speedup_compiled_half --> times faster, but it needs a processor that supports it in hardware, and it changes
# alpha by 0.0004<!-- half_changes_alpha_by --> on average, so it is never chosen for you. Compare times only within one
# figure: other notebooks time another form, number of threads or size. The table of results states how this one was
# measured.
#
# ## 10. Without PyTorch
#
# ONNX is a file format for networks that many programs can run. An export can go wrong silently, so `export_onnx`
# compares the file with the network, on random pictures and on yours, *before* it keeps the file. On the shell:
# `modnet export modnet.onnx --image me.jpg`; without `--size` the file takes pictures of any size. Below, the size is
# fixed: a short side as for `Matter`, and both sides multiples of 32. **Predict** it for your photograph.

# %%
height, width = (matter.short_side * side // min(image.shape[:2]) // 32 * 32 for side in image.shape[:2])
difference = deploy.export_onnx(matter.network, WORK / "modnet.onnx", [image], (height, width))
print(f"input {height} x {width}; largest difference of alpha: {difference:.0e}, {deploy.TOLERANCE:.0e} allowed")

# %% [markdown]
# NumPy, Pillow and ONNX Runtime are all that a program then needs:

# %%
session = onnxruntime.InferenceSession(WORK / "modnet.onnx")
planes = [Image.fromarray(plane) for plane in image.astype(np.float32).transpose(2, 0, 1) / 255]
small = np.stack([plane.resize((width, height), Image.Resampling.BILINEAR) for plane in planes])
(answer,) = session.run(None, {"image": small[None]})
found = np.asarray(Image.fromarray(answer[0, 0]).resize(image.shape[1::-1], Image.Resampling.BILINEAR))
difference = np.abs(found - alpha).max()
assert difference < 1e-3
print(f"largest difference from Matter: {difference:.0e}, 1e-3 allowed")

# %% [markdown]
# [A complete program](../examples/onnx_without_torch.py) has about 30 lines, and a test runs it where PyTorch cannot be imported.
#
# ## 11. In your application
#
# Keep one `Matter` for the life of the process, so that the weights are read only once. Tell users what is wrong: a
# picture that cannot be read raises `ValueError` with a sentence that names it. And give every request a temporary folder
# of its own: with one fixed file name, two uploads at the same time would overwrite each other.


# %%
def handle(content):
    """What a web service does with an upload: return a status and an answer."""
    with tempfile.TemporaryDirectory() as folder:
        upload, answer = Path(folder, "upload"), Path(folder, "answer.webp")
        upload.write_bytes(content)
        try:
            matter.cutout(upload).save(answer)
        except ValueError as error:
            return 400, str(error).replace(f"{folder}/", "").encode()
        return 200, answer.read_bytes()


# %% tags=["nbval-check-output"]
status, answer = handle(photo.read_bytes())
print(status, answer[:4], answer[8:12])
status, answer = handle(b"not a picture")
print(status, answer.decode().partition(":")[0])

# %% [markdown]
# A wheel (`pip wheel --no-deps .`) carries the checkpoint, so `pip install` of that one file gives `modnet matte` on
# any machine. Before you publish anything, read [the model card](../data/checkpoints/README.md): it says what the network
# was trained on and where it fails. The authors' checkpoints load with `Matter.from_pretrained("….ckpt")` or `--model`.
#
# Finally, the widget. Where the truth is known, it can show an error map: red where the matte is too small, blue where it
# is too large. Here is that map as a figure:

# %%
guess = matter.alpha(drawn.image)
figures.image_row(
    [drawn.image, guess, figures.error_map(guess, exact)],
    ["drawn portrait", "matte", "error map: red too small, blue too large"],
)

# %% [markdown]
# In a running notebook, try *your own picture*: zoom to 4 along the hair, and compare the model at 384 and at 192 pixels with
# *beside it*. For the drawn portrait, `error` shows the map above under any disturbance.

# %% tags=["nbval-ignore-output"]
models = {"384 pixels": matter, "192 pixels": matter.resized(192)}
inspector.MatteInspector(models, {"me": photo, "drawn": drawn.image}, truths={"drawn": drawn.alpha})

# %% [markdown]
# ## Results

# %%
results.ResultsTable("09_your_own_pictures", PROFILE)

# %% [markdown]
# The paper reports none of these numbers.
#
# ## What to believe, and what to use
#
# - **Believe** the glow, $\alpha (1 - \alpha)(B - F)$: it follows from Eq. 1. **Use** `cutout` and `composite`, which
#   estimate $F$. With estimated mattes the gain is smaller than with exact ones; the numbers are from drawn people.
# - **Believe** that the guided filter brings edges nearer to the truth, on drawn people. **Use** `--refine` for large
#   photographs, and check textures.
# - **Believe** equal answers where they were compared: shell, Python and widget, folded and exported network. **Do not**
#   expect the same speeds on another machine; `benchmarks/inference.py` measures yours.
# - **Use** `modnet matte` for pictures and folders, and `modnet video` for clips. A folder that was interrupted resumes,
#   and files that failed are named.
#
# ## Exercises
#
# Exercises with a code in quotes check themselves and say what is wrong. In a new cell, with your answer for the dots:
#
# ```python
# from modnet_lib.notebook.exercises import check_answer
#
# check_answer("09.1", ...)
# ```
#
# **1.** Derive the glow $\alpha(1 - \alpha)(B - F)$ from Eq. 1. Why does a green screen show it so clearly? How
# strong is it at $\alpha = 0.3$, for dark hair of 0.1 in front of a wall of 0.9? (`"09.1"`)
#
# <details><summary>Answer</summary>
#
# Insert $I = \alpha F + (1 - \alpha) B$ into $\alpha I + (1 - \alpha) B'$ and subtract $\alpha F + (1 - \alpha) B'$:
# $\alpha(\alpha F + (1 - \alpha) B) - \alpha F = \alpha (1 - \alpha)(B - F)$. A green screen is chosen to differ from
# skin and hair, so $B - F$ is large.
#
# ```python
# check_answer("09.1", 0.3 * (1 - 0.3) * (0.9 - 0.1))
# ```
#
# </details>
#
# **2.** A faster estimate than that of section 4 is *blur fusion* (Forte, 2021). The mean colour of the person is
# $\hat F = \text{blur}(\alpha I) / \text{blur}(\alpha)$, that of the background
# $\hat B = \text{blur}((1 - \alpha) I) / \text{blur}(1 - \alpha)$, and then
# $F = \hat F + \alpha (I - \alpha \hat F - (1 - \alpha) \hat B)$, kept in [0, 1]. Write
# `blur_fusion(image, alpha, blur)` for a row of $n$ grey pixels; `blur` is an $n \times n$ matrix, and `blur @ values`
# averages over neighbours. (`"09.2"`)
#
# <details><summary>Answer</summary>
#
# The last term is the part of $I$ that $\hat F$ and $\hat B$ do not explain by Eq. 1; $F$ gets a share $\alpha$ of it.
#
# ```python
# def blur_fusion(image, alpha, blur):
#     person = blur @ (alpha * image) / (blur @ alpha)
#     behind = blur @ ((1 - alpha) * image) / (blur @ (1 - alpha))
#     return (person + alpha * (image - alpha * person - (1 - alpha) * behind)).clip(0, 1)
#
#
# check_answer("09.2", blur_fusion)
# ```
#
# </details>
#
# **3.** Two processes share a folder, and each takes every second picture *that is not written yet*: process 0 the first,
# third, …, process 1 the second, fourth, …. Show how one picture can be done twice and another not at all.
#
# <details><summary>Answer</summary>
#
# Process 0 looks first, sees a, b, c, d and takes a and c. When it has written a, process 1 looks, sees b, c, d and takes the
# second: c. So c is done twice, and b and d are not done at all. From the whole plan, process 1 takes b and d whenever it
# looks.
#
# </details>
#
# ## References
#
# - Z. Ke, J. Sun, K. Li, Q. Yan, R. W. H. Lau. *MODNet: Real-Time Trimap-Free Portrait Matting via Objective
#   Decomposition.* AAAI 2022.
# - T. Germer, T. Uelwer, S. Conrad, S. Harmeling. *Fast Multi-Level Foreground Estimation.* ICPR 2020.
# - M. Forte. *Approximate Fast Foreground Colour Estimation.* ICIP 2021 (exercise 2).
# - K. He, J. Sun, X. Tang. *Guided Image Filtering.* ECCV 2010; K. He, J. Sun. *Fast Guided Filter.* 2015.
# - T. Porter, T. Duff. *Compositing Digital Images.* SIGGRAPH 1984 (premultiplied alpha).
# - Photograph: the astronaut Eileen Collins (sample data of scikit-image).
#
# **Next:** the series ends here. Start again at [00](00_start_here.ipynb) with pictures of your own.
