// PNG, JPEG and TIFF through libpng, libjpeg and libtiff.
//
// The first two report errors by longjmp. Every function here catches that itself, so no jump
// ever crosses a caller's frame: a failure comes back as NULL or false with the codec's own words
// in `message`. Samples are in rows from the top, interleaved, 1 (grey) or 3 (RGB) channels, in the
// machine's byte order. Nothing is printed.

#ifndef CIMAGECODECS_H
#define CIMAGECODECS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPARROW_CODEC_MESSAGE_SIZE = 256 };

typedef struct {
  uint32_t width;
  uint32_t height;
  uint32_t channels;
  // Bytes that the deflate stream of a PNG must unpack to, 0 for a JPEG.
  uint64_t deflated_bytes;
  // A file of fewer bytes cannot hold a JPEG of this size: each of its blocks takes a bit at least.
  // 0 for a PNG, and where arithmetic coding, of at most 2^24 pixels, knows no such bound.
  uint64_t minimum_bytes;
  // Of a sample once unpacked: 16 for a PNG of 16 bits, else 8.
  uint32_t bits;
  bool is_interlaced;
  bool has_alpha;
  // The Exif block before the samples, with the six bytes that begin it in a JPEG; NULL where there
  // is none. Valid until something is decoded.
  const uint8_t *exif;
  size_t exif_size;
} sparrow_image_info;

typedef struct sparrow_png_reader sparrow_png_reader;
typedef struct sparrow_jpeg_reader sparrow_jpeg_reader;

// Reads the header. `bytes` must stay valid until the reader is closed. NULL on failure.
sparrow_png_reader *sparrow_png_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message);
sparrow_jpeg_reader *sparrow_jpeg_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message);

// The same from a file open for reading, of `size` bytes, which must stay open.
sparrow_png_reader *sparrow_png_open_file(
    int descriptor, uint64_t size, sparrow_image_info *info, char *message);

// Leaves 16-bit samples as they are instead of scaling them to 8; before anything is decoded.
void sparrow_png_keep_depth(sparrow_png_reader *reader);

// Decodes the next row of an image that is not interlaced, and after the last one what ends the
// file. False on failure.
bool sparrow_png_next_row(sparrow_png_reader *reader, void *row, char *message);

// Decodes into width*height*channels samples; once per reader. False on failure.
bool sparrow_png_decode(sparrow_png_reader *reader, uint8_t *samples, char *message);
bool sparrow_jpeg_decode(sparrow_jpeg_reader *reader, uint8_t *samples, char *message);

void sparrow_png_close(sparrow_png_reader *reader);
void sparrow_jpeg_close(sparrow_jpeg_reader *reader);

// Encodes grey or RGB. On success `*bytes` is to be released with free().
bool sparrow_png_encode(
    const uint8_t *samples, uint32_t width, uint32_t height, uint32_t channels, uint8_t **bytes,
    size_t *size, char *message);

// Writing a PNG row by row into an open, empty file: 8 or 16 bits.
typedef struct sparrow_png_writer sparrow_png_writer;

sparrow_png_writer *sparrow_png_create(
    int descriptor, uint32_t width, uint32_t height, uint32_t channels, uint32_t bits,
    char *message);
bool sparrow_png_write_row(sparrow_png_writer *writer, const void *row, char *message);
// After the last row.
bool sparrow_png_finish(sparrow_png_writer *writer, char *message);
void sparrow_png_abandon(sparrow_png_writer *writer);

// A TIFF file open for reading or for writing.
typedef struct sparrow_tiff sparrow_tiff;

// One page of a TIFF file, in the numbers of its specification.
typedef struct {
  uint32_t width;
  uint32_t height;
  uint16_t bits;
  // Per pixel, with the extra ones.
  uint16_t samples;
  // 1 unsigned, 2 signed, 3 floating point, 4 anything.
  uint16_t format;
  // 0 min-is-white, 1 min-is-black, 2 RGB (also YCbCr in JPEG), 3 palette.
  uint16_t photometric;
  uint16_t compression;
  // 1 interleaved, 2 one plane for each sample.
  uint16_t planar;
  uint16_t extra_count;
  // How many of the extra samples are said to be alpha.
  uint16_t alpha_count;
  // Whether this libtiff has the compression.
  bool is_readable;
  bool is_tiled;
  // Of a tile, or the width and rows of a strip.
  uint32_t chunk_width;
  uint32_t chunk_height;
  // Unpacked, of one plane where there are several; 0 where libtiff sees an overflow.
  uint64_t chunk_bytes;
  // Of one row of a strip; 0 for tiles.
  uint64_t row_bytes;
  // As tag 274 has it, 1 where it is absent.
  uint16_t orientation;
  // Slices in this one page.
  uint32_t depth;
  // How many images ImageJ's description speaks of, or samples tifffile's where it has written one
  // page for all; 0 where they do not.
  uint32_t described_images;
  uint64_t described_samples;
  // Where the last strip or tile ends in the file; 0 where libtiff does not say.
  uint64_t end;
  // Whether it is said to be a smaller copy of another page, or a mask of one.
  bool is_copy;
} sparrow_tiff_page;

// `descriptor` must stay open until the file is closed. NULL on failure.
sparrow_tiff *sparrow_tiff_open(int descriptor, uint64_t size, uint32_t *pages, char *message);
bool sparrow_tiff_turn(
    sparrow_tiff *file, uint32_t number, sparrow_tiff_page *page, char *message);
// The palette of the current page, which has 8 bits: 256 times red, green, blue.
bool sparrow_tiff_palette(sparrow_tiff *file, uint8_t colours[768], char *message);
// Unpacks the strip or tile that holds pixel (x, y): `size` bytes and no fewer.
bool sparrow_tiff_read_chunk(
    sparrow_tiff *file, uint32_t x, uint32_t y, uint16_t plane, void *target, size_t size,
    char *message);
// Unpacks row y of an image in interleaved strips; rows must follow each other from 0.
bool sparrow_tiff_read_row(sparrow_tiff *file, uint32_t y, void *target, char *message);

typedef struct {
  uint32_t width;
  uint32_t height;
  uint32_t rows_per_strip;
  uint16_t channels;
  uint16_t bits;
  bool is_float;
  bool is_big;
} sparrow_tiff_layout;

// Starts a file of one page; `descriptor` is open for reading and writing, and empty.
sparrow_tiff *sparrow_tiff_create(
    int descriptor, const sparrow_tiff_layout *layout, char *message);
// Strips in their order; `source` may be changed.
bool sparrow_tiff_write_strip(
    sparrow_tiff *file, uint32_t strip, void *source, size_t size, char *message);
// After the last strip; the file has still to be closed.
bool sparrow_tiff_finish(sparrow_tiff *file, char *message);

void sparrow_tiff_close(sparrow_tiff *file);

#endif
