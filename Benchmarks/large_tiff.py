"""Writes an uncompressed 8-bit grey BigTIFF of SIZE x SIZE pixels in strips, a texture without end.

python3 large_tiff.py PATH SIZE: no packages needed. For measuring memory, not quality.
"""

import struct
import sys

path, size = sys.argv[1], int(sys.argv[2])
rows_per_strip = 64
strips = (size + rows_per_strip - 1) // rows_per_strip
tags = [
    (256, 4, 1, size), (257, 4, 1, size), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
    (273, 16, strips, None), (277, 3, 1, 1), (278, 4, 1, rows_per_strip), (279, 16, strips, None),
]
directory = 16
after = directory + 8 + 20 * len(tags) + 8
offsets, counts = after, after + 8 * strips
data = counts + 8 * strips
line = bytes((x * x // 97 + x // 13) % 256 for x in range(2 * size))
with open(path, "wb") as file:
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory))
    file.write(struct.pack("<Q", len(tags)))
    for tag, kind, count, value in tags:
        place = {273: offsets, 279: counts}.get(tag, value)
        file.write(struct.pack("<HHQQ", tag, kind, count, place))
    file.write(struct.pack("<Q", 0))
    sizes = [min(rows_per_strip, size - s * rows_per_strip) * size for s in range(strips)]
    starts = [data + sum(sizes[:s]) for s in range(strips)]
    file.write(struct.pack(f"<{strips}Q", *starts))
    file.write(struct.pack(f"<{strips}Q", *sizes))
    for y in range(size):
        start = (37 * y) % size
        file.write(line[start:start + size])
