"""Five Adam steps of a small autoencoder in PyTorch, in double precision.

Made adam_steps.json, which TrainingTests compares the reference with:
    pip install torch; python adam_steps.py > adam_steps.json
The weights and the images come from a formula, so that both sides have the same.
"""
import json
import math
import torch

widths, batch, rate, steps = [6, 4, 3, 4, 6], 5, 0.01, 5
torch.set_default_dtype(torch.float64)


def wave(index):
    """A multiple of 2^-10 in (-0.75, 0.75), exact in single precision."""
    return round(768 * math.sin(1.7 * index + 0.3)) / 1024


counter = 0
layers = []
for inputs, outputs in zip(widths, widths[1:]):
    weight = torch.empty(inputs, outputs)
    for i in range(inputs):
        for j in range(outputs):
            weight[i, j] = wave(counter)
            counter += 1
    bias = torch.empty(outputs)
    for j in range(outputs):
        bias[j] = wave(counter) / 4
        counter += 1
    layers.append((weight.requires_grad_(), bias.requires_grad_()))

pixels = [[(37 * (6 * n + j) + 11) % 256 for j in range(6)] for n in range(batch)]
x = torch.tensor(pixels, dtype=torch.float64) / 255
start = [[w.detach().flatten().tolist(), b.detach().tolist()] for w, b in layers]
optimizer = torch.optim.Adam([p for layer in layers for p in layer], lr=rate)
losses, l0 = [], []
for _ in range(steps):
    y = x
    for index, (weight, bias) in enumerate(layers):
        y = y @ weight + bias
        y = torch.sigmoid(y) if index == len(layers) - 1 else torch.relu(y)
        if index == 1:
            l0.append((y != 0).double().sum(1).mean().item())
    loss = ((y - x) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
end = [[w.detach().flatten().tolist(), b.detach().tolist()] for w, b in layers]
print(json.dumps({
    "widths": widths, "rate": rate, "pixels": pixels, "start": start, "losses": losses, "l0": l0,
    "end": end, "torch": torch.__version__.split("+")[0]}, indent=1))
