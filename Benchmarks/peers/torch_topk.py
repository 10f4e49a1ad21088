"""A one-layer TopK autoencoder in PyTorch, dense products, fused Adam. Needs: torch numpy."""

import argparse
import json
import time

import torch

import mnist

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True, help="the folder with MNIST's four files")
parser.add_argument("--latents", type=int, default=1024)
parser.add_argument("--k", type=int, default=32)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
torch.manual_seed(options.seed)
train, test = map(torch.from_numpy, mnist.load(options.data))
mean = train.mean(0)

decoder = torch.randn(options.latents, train.shape[1])
decoder = torch.nn.Parameter(decoder / decoder.norm(dim=1, keepdim=True))
encoder = torch.nn.Parameter(decoder.detach().T.contiguous())
encoder_bias = torch.nn.Parameter(torch.zeros(options.latents))
decoder_bias = torch.nn.Parameter(mean.clone())
parameters = [encoder, decoder, encoder_bias, decoder_bias]
optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)


def reconstruct(batch):
    activations = (batch - decoder_bias) @ encoder + encoder_bias
    values, indices = activations.topk(options.k, -1)
    code = torch.zeros_like(activations).scatter(-1, indices, values.relu())
    return code @ decoder + decoder_bias, code


epoch_seconds = []
for epoch in range(options.epochs):
    start = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * (1 - epoch / options.epochs) + 1e-5
    for rows in torch.randperm(len(train)).split(mnist.BATCH):
        batch = train[rows]
        loss = ((reconstruct(batch)[0] - batch) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
    epoch_seconds.append(time.perf_counter() - start)

with torch.no_grad():
    parts = [reconstruct(part) for part in test.split(1000)]
    error = sum(((y - x) ** 2).sum() for (y, _), x in zip(parts, test.split(1000)))
    fired = sum((code > 0).sum(0) for _, code in parts)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__}", "epoch_seconds": epoch_seconds,
        "fvu": float(error / ((test - test.mean(0)) ** 2).sum()), "dead": int((fired == 0).sum())}))
