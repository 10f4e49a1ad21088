"""What the training peers share: MNIST, the command line, and the report.

The network is the seed's: 784-64-64-64-784 with ReLU, ReLU, ReLU and sigmoid, Glorot-uniform
weights, zero biases, mean squared error, Adam with rate 1e-3, batches of 256 in a new order every
epoch, the last one smaller (60000 = 234 * 256 + 96).
"""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np

LAYERS = [784, 64, 64, 64, 784]
BATCH = 256
LEARNING_RATE = 1e-3


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="the folder with MNIST's four files")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def images(folder, name):
    """Float32 rows of 784 pixels in [0, 1], from the file or its gzip-compressed form."""
    plain = Path(folder) / name
    raw = plain.read_bytes() if plain.exists() else gzip.open(f"{plain}.gz").read()
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255


def load(folder):
    """The training images and the test images."""
    return images(folder, "train-images-idx3-ubyte"), images(folder, "t10k-images-idx3-ubyte")


def report(system, mse, epoch_seconds):
    """The one line on standard output that the driver reads."""
    print(json.dumps({"system": system, "mse": float(mse), "epoch_seconds": epoch_seconds}))
