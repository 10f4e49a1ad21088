"""A training step of PyTorch's U-Net with 16, 32, 64, 128 channels: 4 crops of 192x192, AdamW.

python torch_unet.py [--steps N] prints one JSON object. Needs torch.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def block(inputs, outputs):
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, base=16, classes=2):
        super().__init__()
        widths = [base << level for level in range(4)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([1] + widths, widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[:3])
        self.merge = nn.ModuleList(block(2 * w, w) for w in widths[:3])
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x):
        skips = []
        for level, layer in enumerate(self.down):
            x = layer(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level in (2, 1, 0):
            x = self.merge[level](torch.cat([self.up[level](x), skips[level]], 1))
        return self.head(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = UNet()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    images = torch.rand(4, 1, 192, 192)
    labels = torch.randint(0, 2, (4, 192, 192))
    seconds = []
    for step in range(options.steps + 3):
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        if step >= 3:
            seconds.append(time.perf_counter() - start)
    model.eval()
    image = torch.rand(1, 1, 512, 512)
    predictions = []
    with torch.no_grad():
        for _ in range(6):
            start = time.perf_counter()
            model(image).argmax(1)
            predictions.append(time.perf_counter() - start)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__}", "step_seconds": statistics.median(seconds),
        "best_step_seconds": min(seconds), "predict_seconds": statistics.median(predictions[1:]),
        "threads": torch.get_num_threads()}))


main()
