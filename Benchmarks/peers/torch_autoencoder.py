"""The seed's autoencoder in PyTorch, eager, with fused Adam. Needs: torch numpy."""

import itertools
import time

import torch
from torch import nn

import mnist

options = mnist.arguments()
torch.manual_seed(options.seed)
train, test = map(torch.from_numpy, mnist.load(options.data))

modules = []
for inputs, outputs in itertools.pairwise(mnist.LAYERS):
    linear = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    modules += [linear, nn.ReLU()]
modules[-1] = nn.Sigmoid()
model = nn.Sequential(*modules)
optimizer = torch.optim.Adam(model.parameters(), lr=mnist.LEARNING_RATE, fused=True)


def loss(batch):
    return ((model(batch) - batch) ** 2).mean()


epoch_seconds = []
for _ in range(options.epochs):
    start = time.perf_counter()
    for rows in torch.randperm(len(train)).split(mnist.BATCH):
        optimizer.zero_grad()
        loss(train[rows]).backward()
        optimizer.step()
    epoch_seconds.append(time.perf_counter() - start)

with torch.no_grad():
    mnist.report(f"PyTorch {torch.__version__}", loss(test), epoch_seconds)
