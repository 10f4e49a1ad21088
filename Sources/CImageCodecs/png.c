#include "CImageCodecs.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Everything that must survive a longjmp lives here, not in local variables.
struct sparrow_png_reader {
  png_structp png;
  png_infop info;
  jmp_buf escape;
  char *message;
  const uint8_t *bytes;
  size_t size;
  size_t position;
  uint32_t height;
  size_t row_bytes;
};

typedef struct {
  png_structp png;
  png_infop info;
  jmp_buf escape;
  char *message;
  uint8_t *bytes;
  size_t size;
  size_t capacity;
} png_writer;

static void say(char *message, const char *words) {
  snprintf(message, SPARROW_CODEC_MESSAGE_SIZE, "%s", words);
}

static void ignore_warning(png_structp png, png_const_charp words) {
  (void)png;
  (void)words;
}

static void read_failed(png_structp png, png_const_charp words) {
  sparrow_png_reader *reader = png_get_error_ptr(png);
  say(reader->message, words);
  longjmp(reader->escape, 1);
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
  sparrow_png_reader *reader = png_get_io_ptr(png);
  if (count > reader->size - reader->position) png_error(png, "the file ends early");
  memcpy(target, reader->bytes + reader->position, count);
  reader->position += count;
}

sparrow_png_reader *sparrow_png_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message) {
  sparrow_png_reader *reader = calloc(1, sizeof *reader);
  if (!reader) {
    say(message, "out of memory");
    return NULL;
  }
  reader->bytes = bytes;
  reader->size = size;
  reader->message = message;
  if (setjmp(reader->escape)) {
    sparrow_png_close(reader);
    return NULL;
  }
  reader->png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, read_failed, ignore_warning);
  if (reader->png) reader->info = png_create_info_struct(reader->png);
  if (!reader->info) {
    say(message, "libpng could not start");
    sparrow_png_close(reader);
    return NULL;
  }
  png_structp png = reader->png;
  png_set_read_fn(png, reader, read_bytes);
  // The caller bounds the number of pixels; libpng's own limits would only be less clear.
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_read_info(png, reader->info);

  info->width = png_get_image_width(png, reader->info);
  info->height = png_get_image_height(png, reader->info);
  // One filter byte a row; an interlaced image has more rows, hence never fewer bytes.
  info->deflated_bytes =
      ((uint64_t)png_get_rowbytes(png, reader->info) + 1) * (uint64_t)info->height;
  int colour = png_get_color_type(png, reader->info);
  info->channels = (colour & PNG_COLOR_MASK_COLOR) ? 3 : 1;
  reader->height = info->height;
  reader->row_bytes = (size_t)info->width * info->channels;
  return reader;
}

bool sparrow_png_decode(sparrow_png_reader *reader, uint8_t *samples, char *message) {
  reader->message = message;
  if (setjmp(reader->escape)) return false;
  png_structp png = reader->png;
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_strip_alpha(png);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);
  if (png_get_rowbytes(png, reader->info) != reader->row_bytes)
    png_error(png, "unexpected row size");
  // Row by row, since a table of row pointers for a tall image would outgrow the image.
  for (int pass = 0; pass < passes; pass++)
    for (uint32_t row = 0; row < reader->height; row++)
      png_read_row(png, samples + (size_t)row * reader->row_bytes, NULL);
  png_read_end(png, NULL);
  return true;
}

void sparrow_png_close(sparrow_png_reader *reader) {
  if (!reader) return;
  png_destroy_read_struct(&reader->png, &reader->info, NULL);
  free(reader);
}

static void write_failed(png_structp png, png_const_charp words) {
  png_writer *writer = png_get_error_ptr(png);
  say(writer->message, words);
  longjmp(writer->escape, 1);
}

static void write_bytes(png_structp png, png_bytep source, size_t count) {
  png_writer *writer = png_get_io_ptr(png);
  if (count > writer->capacity - writer->size) {
    size_t capacity = writer->capacity * 2 + count + 4096;
    uint8_t *bytes = realloc(writer->bytes, capacity);
    if (!bytes) png_error(png, "out of memory");
    writer->bytes = bytes;
    writer->capacity = capacity;
  }
  memcpy(writer->bytes + writer->size, source, count);
  writer->size += count;
}

static void flush_nothing(png_structp png) { (void)png; }

bool sparrow_png_encode(
    const uint8_t *samples, uint32_t width, uint32_t height, uint32_t channels, uint8_t **bytes,
    size_t *size, char *message) {
  png_writer *writer = calloc(1, sizeof *writer);
  if (!writer) {
    say(message, "out of memory");
    return false;
  }
  writer->message = message;
  if (setjmp(writer->escape)) {
    png_destroy_write_struct(&writer->png, &writer->info);
    free(writer->bytes);
    free(writer);
    return false;
  }
  writer->png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, writer, write_failed, ignore_warning);
  if (writer->png) writer->info = png_create_info_struct(writer->png);
  if (!writer->info) {
    say(message, "libpng could not start");
    longjmp(writer->escape, 1);
  }
  png_structp png = writer->png;
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_write_fn(png, writer, write_bytes, flush_nothing);
  png_set_IHDR(
      png, writer->info, width, height, 8, channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
      PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  // Named here, so that the bytes depend on nothing but the pixels and the versions of the codecs.
  png_set_compression_level(png, 6);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
  png_write_info(png, writer->info);
  for (uint32_t row = 0; row < height; row++)
    png_write_row(png, samples + (size_t)row * width * channels);
  png_write_end(png, NULL);
  *bytes = writer->bytes;
  *size = writer->size;
  png_destroy_write_struct(&writer->png, &writer->info);
  free(writer);
  return true;
}
