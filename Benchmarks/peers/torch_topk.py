"""TopK autoencoders in plain PyTorch, dense products, fused Adam, no remedy for dead latents. Needs: torch numpy.

A dictionary, or the seed's layers (--collapsed) with the K largest of the code kept. The rate is constant and falls to
zero over the last 30 % of a dictionary's run.
"""

import argparse
import itertools
import json
import time

import torch
from torch import nn

import mnist

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True, help="the folder with MNIST's four files")
parser.add_argument("--collapsed", action="store_true")
parser.add_argument("--latents", type=int, default=1024)
parser.add_argument("--k", type=int, default=32)
parser.add_argument("--rate", type=float, default=1e-3)
parser.add_argument("--start", choices=["gaussian", "data"], default="gaussian", help="the dictionary's rows")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
torch.manual_seed(options.seed)
train, test = map(torch.from_numpy, mnist.load(options.data))


def top(activations):
    values, indices = activations.topk(options.k, -1)
    return torch.zeros_like(activations).scatter(-1, indices, values.relu())


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        mean = train.mean(0)
        rows = torch.randn(options.latents, train.shape[1])
        if options.start == "data":
            rows = train[torch.randperm(len(train))[:options.latents]] - mean
        self.decoder = nn.Parameter(rows / rows.norm(dim=1, keepdim=True))
        self.encoder = nn.Parameter(self.decoder.detach().T.contiguous())
        self.encoder_bias = nn.Parameter(torch.zeros(options.latents))
        self.decoder_bias = nn.Parameter(mean.clone())

    def forward(self, batch):
        code = top((batch - self.decoder_bias) @ self.encoder + self.encoder_bias)
        return code @ self.decoder + self.decoder_bias, code

    def finish_step(self):
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)


class Collapsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(itertools.starmap(nn.Linear, itertools.pairwise(mnist.LAYERS)))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, batch):
        first, second, third, last = self.layers
        code = top(second(first(batch).relu()))
        return last(third(code).relu()).sigmoid(), code

    def finish_step(self):
        pass


model = Collapsed() if options.collapsed else Dictionary()
optimizer = torch.optim.Adam(model.parameters(), lr=options.rate, fused=True)
batches = -(-len(train) // mnist.BATCH)
epoch_seconds = []
for epoch in range(options.epochs):
    start = time.perf_counter()
    for number, rows in enumerate(torch.randperm(len(train)).split(mnist.BATCH)):
        left = 1 - (epoch * batches + number) / (options.epochs * batches)
        for group in optimizer.param_groups:
            group["lr"] = options.rate * (1 if options.collapsed else min(1, left / 0.3))
        batch = train[rows]
        optimizer.zero_grad()
        ((model(batch)[0] - batch) ** 2).sum(1).mean().backward()
        optimizer.step()
        model.finish_step()
    epoch_seconds.append(time.perf_counter() - start)

with torch.no_grad():
    parts = [model(part) for part in test.split(1000)]
    error = float(sum(((y - x) ** 2).sum() for (y, _), x in zip(parts, test.split(1000))))
    fired = sum((code > 0).sum(0) for _, code in parts)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__}", "epoch_seconds": epoch_seconds, "mse": error / test.numel(),
        "fvu": error / float(((test - test.mean(0)) ** 2).sum()), "dead": int((fired == 0).sum()),
        "l0": float(sum((code > 0).sum() for _, code in parts)) / len(test)}))
