"""Golden vectors: small inputs with known answers, with which a device checks its arithmetic.

The inputs are made from noise by gradient ascent until the network is sure of a label (activation maximisation, Erhan
et al. 2009). The model file has no photograph in it.
"""

from __future__ import annotations

import base64

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edge.detect.crops import fit
from edge.schema import Picture
from train.learn.network import Backbone, BearNet

SIDE = 40  # pixels; the usual preprocessing enlarges it
FRAME_WH = 448, 256  # pixels
STEPS = 160
SURE = 0.97


def golden_inputs(net: BearNet, backbone: Backbone, temperature: float, size: int, seed: int) -> list[Picture]:
    """Make one input (SIDE, SIDE, 3) uint8 BGR for each label, and one of plain noise."""
    generator = torch.Generator().manual_seed(seed)
    return [
        *(_grow(net, backbone, temperature, size, column, generator) for column in range(len(net.labels))),
        _picture(_noise(generator)),
    ]


def encode(picture: Picture) -> str:
    """Encode a picture as a base64 PNG."""
    _, png = cv2.imencode(".png", picture)
    return base64.b64encode(png.tobytes()).decode("ascii")


def enlarged(pictures: list[Picture], size: int) -> np.ndarray:
    """Enlarge the inputs to the network's size: uint8 (N, size, size, 3)."""
    return np.stack([fit(picture, size) for picture in pictures])


def golden_frame(inputs: list[Picture]) -> Picture:
    """Put the golden inputs side by side, (2 SIDE, n SIDE, 3): enlarged to ``FRAME_WH``, a frame to scan."""
    half = len(inputs) // 2
    return np.vstack([np.hstack(inputs[:half]), np.hstack(inputs[half : 2 * half])])


def _noise(generator: torch.Generator) -> Tensor:
    """Draw smooth coloured noise (1, 3, SIDE, SIDE), RGB in 0 to 1."""
    coarse = torch.rand((1, 3, 6, 6), generator=generator)
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0.05, 0.95)


def _grow(
    net: BearNet, backbone: Backbone, temperature: float, size: int, column: int, generator: torch.Generator
) -> Picture:
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    pixels = torch.logit(_noise(generator)).requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=0.08)
    for _ in range(STEPS):
        rgb = torch.sigmoid(pixels)
        # A little noise in each step, so that the answer does not depend on single grey values.
        seen = (rgb + 0.02 * torch.randn(rgb.shape, generator=generator)).clamp(0, 1)
        large = F.interpolate(seen, size=(size, size), mode="bilinear", align_corners=False)
        log_p = torch.log_softmax(net.label_logits(net((large - mean) / std)) / temperature, dim=1)[0, column]
        if log_p.exp() > SURE:
            break
        optimizer.zero_grad()
        (-log_p).backward()
        optimizer.step()
    return _picture(torch.sigmoid(pixels.detach()))


def _picture(rgb: Tensor) -> Picture:
    hwc = (rgb[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.ascontiguousarray(hwc[..., ::-1])
