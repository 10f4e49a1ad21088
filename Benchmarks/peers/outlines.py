"""How far outlines at a share of the brightness agree with BBBC039's labels. Needs: numpy scipy scikit-image.

What one labelled image can tell of outlines is at which share of the way from the background's brightness to a
nucleus's own they lie. Given where nuclei are, by the labels' components, and each one's median brightness, this draws
them in the test images at the share that fits a labelled image best: what a method reaches that finds every nucleus and
nothing else, and draws it by its brightness alone, as the labelled image does.
"""

import numpy as np
from scipy import ndimage
from skimage import filters

import bbbc039

SHARES = np.arange(0.3, 0.66, 0.02)
# Pixels around a component that may be its nucleus's.
REACH = 5


def overlaps(image, truth):
    """Pixels in both and in either, for each share."""
    background = np.median(image[image < np.exp(filters.threshold_otsu(np.log(image)))])
    components, count = ndimage.label(truth)
    distance, nearest = ndimage.distance_transform_edt(~truth, return_indices=True)
    owner = np.where(distance > REACH, 0, components[tuple(nearest)])
    # Nothing is of a share of what belongs to no nucleus.
    level = np.array([np.inf, *ndimage.median(image, components, np.arange(1, count + 1))])
    share = (image - background) / (level[owner] - background)
    return np.array([[(truth & (share > s)).sum(), (truth | (share > s)).sum()] for s in SHARES])


def main():
    options = bbbc039.arguments(__doc__)

    def counted(part, name):
        return overlaps(*bbbc039.load(options.data, part, name))

    def fits(counts):
        return counts[:, 0] / counts[:, 1]

    tests = [counted("test", name) for name in bbbc039.names(options.data, "test")]
    whole = fits(sum(tests))
    for name in options.images:
        own = fits(counted("train", name))
        best = own.argmax()
        print(f"{name} labelled: best share {SHARES[best]:.2f}, IoU there {own[best]:.4f}; "
              f"the test images at this share {whole[best]:.4f}")
    best = [SHARES[fits(counted("train", name)).argmax()]
            for name in bbbc039.names(options.data, "train")]
    print(f"best shares of the training images: {min(best):.2f} to {max(best):.2f}, "
          f"mean {np.mean(best):.3f}")
    print(f"the test images at {SHARES[whole.argmax()]:.2f}, best for all: {whole.max():.4f}; "
          f"each at its own best: {fits(sum(c[[fits(c).argmax()]] for c in tests))[0]:.4f}")


main()
