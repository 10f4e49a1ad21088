"""Makes the TIFF and PNG files of this folder: python3 make-fixtures.py

Made with tifffile 2026.3.3, imagecodecs 2026.3.6 and Pillow 13; TIFFReaderTests.swift knows the formula.
"""

import numpy as np
import tifffile
from PIL import Image

W, H = 37, 21


def samples(dtype, channels=1, width=W, height=H):
    y, x, c = np.mgrid[0:height, 0:width, 0:channels].astype(np.int64)
    v = x * 131 + y * 977 + c * 4001
    if dtype == np.uint8:
        a = v % 256
    elif dtype == np.float32:
        a = (v % 65536) / 64.0 - 100
    else:
        a = v * 7 % 65536
    a = a.astype(dtype)
    return a[..., 0] if channels == 1 else a


def write(name, data, **options):
    options.setdefault("photometric", "minisblack")
    options.setdefault("metadata", None)
    options.setdefault("software", False)
    opened = {k: options.pop(k) for k in ("bigtiff", "byteorder") if k in options}
    with tifffile.TiffWriter(name + ".tif", **opened) as file:
        file.write(data, **options)


u8, u16, f32 = np.uint8, np.uint16, np.float32
write("grey8-none", samples(u8))
write("grey8-packbits", samples(u8), compression="packbits", rowsperstrip=5)
write("grey16-lzw", samples(u16), compression="lzw", rowsperstrip=7)
write("grey16-big-endian", samples(u16), byteorder=">", rowsperstrip=4)
write("grey16-none-bigtiff", samples(u16), bigtiff=True, rowsperstrip=6)
write("grey32-deflate-predictor", samples(f32), compression="zlib", predictor=3, rowsperstrip=8)
write("white8-deflate", 255 - samples(u8), photometric="miniswhite", compression="zlib")
write("white16-none", 65535 - samples(u16), photometric="miniswhite")
write("grey8-tiles-lzw", samples(u8), tile=(16, 16), compression="lzw")
write("grey32-tiles-bigtiff", samples(f32), tile=(16, 32), bigtiff=True, compression="zlib")
rgb = dict(photometric="rgb", planarconfig="contig")
planar = dict(photometric="rgb", planarconfig="separate")
write("rgb8-lzw-predictor", samples(u8, 3), compression="lzw", predictor=2, rowsperstrip=8, **rgb)
write("rgb16-tiles-deflate", samples(u16, 3), tile=(16, 16), compression="zlib", predictor=2, **rgb)
write("rgb32-none", samples(f32, 3), rowsperstrip=3, **rgb)
alpha = np.concatenate([samples(u8, 3), 99 * np.ones((H, W, 1), u8)], 2)
write("rgba8-deflate", alpha, extrasamples=["unassalpha"], compression="zlib", **rgb)
alpha = np.stack([samples(u16), np.full((H, W), 7, u16)], 2)
write("grey-alpha16-none", alpha, extrasamples=["assocalpha"], planarconfig="contig")
write("rgb8-planar-deflate", np.moveaxis(samples(u8, 3), 2, 0), compression="zlib",
      rowsperstrip=5, **planar)
write("rgb16-planar-tiles", np.moveaxis(samples(u16, 3), 2, 0), tile=(16, 16), **planar)
index = samples(u8)
colours = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) * 5 % 256])
write("palette8-none", index, photometric="palette", colormap=(colours * 257).astype(u16))
write("rgb8-jpeg-ycbcr", np.stack([np.mgrid[0:32, 0:48][1] * 5, np.mgrid[0:32, 0:48][0] * 7,
                                   np.full((32, 48), 128)], 2).astype(u8),
      compression="jpeg", compressionargs={"level": 95}, photometric="rgb", tile=(16, 16))
write("grey8-jpeg", (np.mgrid[0:32, 0:48][1] * 5).astype(u8), compression="jpeg",
      compressionargs={"level": 95}, rowsperstrip=8)
# One strip of more than 8 MiB.
y, x = np.mgrid[0:2900, 0:3000]
write("large-strip-deflate", ((x + 3 * y) & 15).astype(u8), compression="zlib",
      compressionargs={"level": 9}, rowsperstrip=2900)
with tifffile.TiffWriter("pages.tif") as file:
    common = dict(metadata=None, software=False)
    file.write(samples(u8), photometric="minisblack", **common)
    file.write(samples(u16, 3, 18, 11), photometric="rgb", compression="zlib", **common)
    file.write(samples(f32, 1, 5, 40), photometric="minisblack", **common)

# What is refused.
write("refused-int16", samples(u16).astype(np.int16))
write("refused-uint32", samples(u16).astype(np.uint32))
write("refused-float64", samples(f32).astype(np.float64))
write("refused-bilevel", samples(u8) > 128)
write("refused-cmyk", samples(u8, 4), photometric="separated", planarconfig="contig")
write("refused-channels", samples(u8, 2), planarconfig="contig")
write("refused-white32", samples(f32), photometric="miniswhite")
write("refused-webp", samples(u8, 3), compression="webp", photometric="rgb")

# PNG: Pillow writes 16-bit grey; RGB is OpenCV's domain, hence imagecodecs.
import imagecodecs

Image.fromarray(samples(u16)).save("grey16.png")
open("rgb16.png", "wb").write(imagecodecs.png_encode(samples(u16, 3)))
open("rgba16.png", "wb").write(imagecodecs.png_encode(
    np.concatenate([samples(u16, 3), np.full((H, W, 1), 1000, u16)], 2)))
