"""Six steps of PyTorch's optimizers with clipping, averages and schedules, in double precision.

Made optimizer_steps.json, which OptimizerTests compares the reference with:
    pip install torch; python optimizer_steps.py > optimizer_steps.json
The parameters and the gradients come from a formula, so that both sides have the same.
"""
import json
import math
import torch

shapes, steps, decay, limit, rate = [(3, 5), (7,)], 6, 0.9, 1.5, 0.05
torch.set_default_dtype(torch.float64)


def wave(index, scale):
    """A multiple of 2^-10 in (-scale, scale), exact in single precision."""
    return round(1023 * scale * math.sin(1.7 * index + 0.3)) / 1024


counts = [math.prod(shape) for shape in shapes]
start = [[wave(100 * t + i, 1) for i in range(n)] for t, n in enumerate(counts)]
# Long and short gradients in turn, so that the limit cuts some of them alone.
gradients = [
    [[wave(37 * step + 100 * t + i, 1 if step % 2 else 0.25) for i in range(n)]
     for t, n in enumerate(counts)] for step in range(steps)]


def run(make, clip):
    parameters = [
        torch.tensor(values).reshape(shape).requires_grad_()
        for values, shape in zip(start, shapes)]
    optimizer = make(parameters)
    averages = [torch.zeros(shape) for shape in shapes]
    result = []
    for step in range(steps):
        for parameter, values in zip(parameters, gradients[step]):
            parameter.grad = torch.tensor(values).reshape(parameter.shape)
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit if clip else math.inf)
        optimizer.step()
        for average, parameter in zip(averages, parameters):
            average.lerp_(parameter.detach(), 1 - decay)
        result.append({
            "norm": norm.item(),
            "parameters": [p.detach().flatten().tolist() for p in parameters],
            "averages": [
                (a / (1 - decay ** (step + 1))).flatten().tolist() for a in averages]})
    return result


def rates(make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = make(optimizer)
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


def adam(parameters):
    return torch.optim.Adam(parameters, lr=rate, betas=(0.8, 0.99), eps=1e-6)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=rate, momentum=0.7)


schedulers = torch.optim.lr_scheduler
print(json.dumps({
    "shapes": shapes, "rate": rate, "decay": decay, "limit": limit, "start": start,
    "gradients": gradients, "adam": run(adam, False), "clippedAdam": run(adam, True),
    "sgd": run(sgd, False), "clippedSGD": run(sgd, True),
    "linear": rates(lambda o: schedulers.LinearLR(o, 1.0, 0.0, total_iters=steps)),
    "cosine": rates(lambda o: schedulers.CosineAnnealingLR(o, T_max=steps)),
    "torch": torch.__version__.split("+")[0]}, indent=1))
