"""BBBC039's images and labels for the scripts beside this one. Needs: numpy scikit-image."""

import argparse
from pathlib import Path

import numpy as np
from skimage import io

ROOT = Path(__file__).resolve().parents[2]
# That of the forest's 0.919, and those that `sparrow segment train --limit 1` draws with seeds 1, 2, 3.
IMAGES = "K03_s5,G06_s3,A12_s7,I11_s6"


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data" / "bbbc039",
                        help="default: %(default)s")
    parser.add_argument("--images", default=IMAGES,
                        help="labelled images, each by itself (default: %(default)s)")
    options = parser.parse_args()
    options.images = options.images.split(",")
    return options


def names(data, part):
    return sorted(path.stem for path in (data / part / "images").glob("*.tif"))


def load(data, part, name):
    """An image and where its nuclei are."""
    return (io.imread(data / part / "images" / f"{name}.tif").astype(np.float32),
            io.imread(data / part / "labels" / f"{name}.png") > 0)
