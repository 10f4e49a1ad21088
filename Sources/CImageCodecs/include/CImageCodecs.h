// PNG and JPEG in memory, through libpng and libjpeg.
//
// Both libraries report errors by longjmp. Every function here catches that itself, so no jump
// ever crosses a caller's frame: a failure comes back as NULL or false with the codec's own words
// in `message`. Samples are 8-bit, rows from the top, interleaved, 1 (grey) or 3 (RGB) channels.

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
} sparrow_image_info;

typedef struct sparrow_png_reader sparrow_png_reader;
typedef struct sparrow_jpeg_reader sparrow_jpeg_reader;

// Reads the header. `bytes` must stay valid until the reader is closed. NULL on failure.
sparrow_png_reader *sparrow_png_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message);
sparrow_jpeg_reader *sparrow_jpeg_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message);

// Decodes into width*height*channels bytes; once per reader. False on failure.
bool sparrow_png_decode(sparrow_png_reader *reader, uint8_t *samples, char *message);
bool sparrow_jpeg_decode(sparrow_jpeg_reader *reader, uint8_t *samples, char *message);

void sparrow_png_close(sparrow_png_reader *reader);
void sparrow_jpeg_close(sparrow_jpeg_reader *reader);

// Encodes grey or RGB. On success `*bytes` is to be released with free().
bool sparrow_png_encode(
    const uint8_t *samples, uint32_t width, uint32_t height, uint32_t channels, uint8_t **bytes,
    size_t *size, char *message);

#endif
