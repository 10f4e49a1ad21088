"""PyTorch's batch normalisation, max pooling and a cross-entropy with soft Dice, with gradients.

Made features.json, which FeatureFixtureTests compares the backends with:
    pip install torch; python features.py > features.json
In double precision; the inputs come from a formula and are exact in single precision.
"""
import json
import math
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def wave(count, phase, scale=1.0):
    """Multiples of scale 2^-10 in [-scale, scale]."""
    return [round(1023 * math.sin(1.7 * i + phase) * math.cos(0.37 * i)) * scale / 1024
            for i in range(count)]


def flat(tensor):
    return tensor.detach().flatten().tolist()


def channels_last(values, shape):
    """A leaf [N, H, W, C] and its view [N, C, H, W]."""
    leaf = torch.tensor(values).reshape(shape).requires_grad_()
    return leaf, leaf.permute(0, 3, 1, 2)


def normalise(activation):
    shape, momentum, epsilon = (2, 5, 7, 3), 0.25, 2.0 ** -10
    count = math.prod(shape)
    x, view = channels_last(wave(count, 0.3, 4.0), shape)
    scale = torch.tensor(wave(3, 1.0)).requires_grad_()
    shift = torch.tensor(wave(3, 2.0)).requires_grad_()
    running = [torch.tensor(wave(3, 3.0)), torch.tensor([0.5, 1.0, 2.0])]
    before = [flat(t) for t in running]
    y = F.batch_norm(view, *running, scale, shift, True, momentum, epsilon)
    if activation == "relu":
        y = F.relu(y)
    g = torch.tensor(wave(count, 0.9)).reshape(shape)
    y.permute(0, 2, 3, 1).backward(g)
    return {
        "activation": activation, "shape": shape, "momentum": momentum, "epsilon": epsilon,
        "x": flat(x), "scale": flat(scale), "shift": flat(shift), "runningMeanBefore": before[0],
        "runningVarianceBefore": before[1], "g": flat(g), "y": flat(y.permute(0, 2, 3, 1)),
        "runningMean": flat(running[0]), "runningVariance": flat(running[1]),
        "dx": flat(x.grad), "dscale": flat(scale.grad), "dshift": flat(shift.grad)}


def pool():
    shape = (2, 6, 4, 3)
    # Few different numbers, so that some windows have several largest ones.
    x, view = channels_last([float(round(4 * v)) for v in wave(math.prod(shape), 0.3)], shape)
    y = F.max_pool2d(view, 2).permute(0, 2, 3, 1)
    g = torch.tensor(wave(y.numel(), 0.9)).reshape(y.shape)
    y.backward(g)
    return {"shape": shape, "x": flat(x), "g": flat(g), "y": flat(y), "dx": flat(x.grad)}


def loss():
    positions, classes, ignored = 40, 3, 255
    weights, settings = [0.5, 1.0, 2.0], (0.75, 1.5, 0.5)
    a = torch.tensor(wave(positions * classes, 0.3, 4.0)).reshape(positions, classes)
    a.requires_grad_()
    labels = torch.tensor([ignored if i % 5 == 3 else i * i % classes for i in range(positions)])
    entropy = F.cross_entropy(a, labels, torch.tensor(weights), ignore_index=ignored)
    labelled = labels != ignored
    p = F.softmax(a, 1)[labelled]
    t = F.one_hot(labels[labelled], classes).to(p.dtype)
    ratio = (2 * (p * t).sum(0) + settings[2]) / ((p + t).sum(0) + settings[2])
    dice = 1 - ratio.mean()
    (settings[0] * entropy + settings[1] * dice).backward()
    return {
        "classes": classes, "a": flat(a), "labels": labels.tolist(), "weights": weights,
        "crossEntropyWeight": settings[0], "diceWeight": settings[1], "smoothing": settings[2],
        "figures": [entropy.item(), dice.item(), labelled.sum().item()], "gradient": flat(a.grad)}


print(json.dumps({
    "normalisations": [normalise("identity"), normalise("relu")], "pool": pool(),
    "loss": loss(), "torch": torch.__version__.split("+")[0]}, indent=1))
