"""Cut a person out with ONNX Runtime alone: python onnx_without_torch.py modnet.onnx me.jpg me.png.

Needs numpy, pillow and onnxruntime; the file comes from `modnet export modnet.onnx`.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def matte(session, picture):
    """The matte of an RGB picture, (H, W) float32 in [0, 1]."""
    side = int(session.get_modelmeta().custom_metadata_map["short_side"])
    scale = side / min(picture.size)
    size = tuple(max(32, int(length * scale + 1e-6) // 32 * 32) for length in picture.size)
    planes = [Image.fromarray(np.asarray(plane, np.float32)) for plane in picture.split()]
    small = np.stack([np.asarray(plane.resize(size, Image.Resampling.BILINEAR)) for plane in planes]) / 255
    (alpha,) = session.run(None, {"image": small[None].astype(np.float32)})
    return np.clip(Image.fromarray(alpha[0, 0]).resize(picture.size, Image.Resampling.BILINEAR), 0, 1)


if __name__ == "__main__":
    model, source, target = sys.argv[1:]
    image = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
    image.putalpha(Image.fromarray((matte(onnxruntime.InferenceSession(model), image) * 255).round().astype(np.uint8)))
    image.save(target)
