"""A random forest on multiscale filters, BBBC039 with one labelled image. Needs: numpy scikit-image scikit-learn.

As scikit-image's trainable segmentation and ilastik do it: intensity, edges and texture at scales of 1 to 16 pixels,
200000 pixels of the labelled image.
"""

import time

import numpy as np
import skimage
from skimage import feature
from sklearn.ensemble import RandomForestClassifier

import bbbc039

PIXELS = 200_000


def pixels(data, part, name):
    """Of each pixel the filters' answers, and whether it is a nucleus's."""
    image, nuclei = bbbc039.load(data, part, name)
    maps = feature.multiscale_basic_features(
        image, intensity=True, edges=True, texture=True, sigma_min=1, sigma_max=16)
    return maps.astype(np.float32).reshape(-1, maps.shape[-1]), nuclei.ravel()


def main():
    options = bbbc039.arguments(__doc__)
    tests = [pixels(options.data, "test", name) for name in bbbc039.names(options.data, "test")]
    for name in options.images:
        start = time.perf_counter()
        maps, truth = pixels(options.data, "train", name)
        chosen = np.random.default_rng(0).choice(truth.size, PIXELS, replace=False)
        forest = RandomForestClassifier(
            100, n_jobs=-1, max_depth=25, max_samples=0.5, random_state=0)
        forest.fit(maps[chosen], truth[chosen])
        seconds = time.perf_counter() - start
        both = either = 0
        for maps, truth in tests:
            found = forest.predict(maps)
            both += (found & truth).sum()
            either += (found | truth).sum()
        print(f"scikit-image {skimage.__version__}, {name} labelled: IoU of nuclei {both / either:.4f}, "
              f"features and fit {seconds:.0f} s", flush=True)


main()
