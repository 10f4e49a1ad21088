// pread and 64-bit offsets, which strict C11 hides.
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64

#include "CImageCodecs.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Everything that must survive a longjmp lives here, not in local variables.
struct sparrow_png_reader {
  png_structp png;
  png_infop info;
  jmp_buf escape;
  char *message;
  // In memory, or NULL where the content is in a file.
  const uint8_t *bytes;
  int descriptor;
  uint64_t size;
  uint64_t position;
  bool keeps_depth;
  bool has_started;
  uint32_t height;
  uint32_t next_row;
  size_t row_bytes;
};

struct sparrow_png_writer {
  png_structp png;
  png_infop info;
  jmp_buf escape;
  char *message;
  int descriptor;
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
  if (reader->bytes) memcpy(target, reader->bytes + reader->position, count);
  for (size_t done = 0; !reader->bytes && done < count;) {
    ssize_t got = pread(
        reader->descriptor, target + done, count - done, (off_t)(reader->position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) png_error(png, strerror(errno));
    if (got == 0) png_error(png, "the file ends early");
    done += (size_t)got;
  }
  reader->position += count;
}

static sparrow_png_reader *open_png(
    const uint8_t *bytes, int descriptor, uint64_t size, sparrow_image_info *info, char *message) {
  sparrow_png_reader *reader = calloc(1, sizeof *reader);
  if (!reader) {
    say(message, "out of memory");
    return NULL;
  }
  reader->bytes = bytes;
  reader->descriptor = descriptor;
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
  // Of the chunks that are not about pixels only Exif is read, as it is: libpng allocates for others,
  // and for its own reading of this one, what they say that they are long. No chunk is longer than
  // the file.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_ALWAYS, (png_const_bytep) "eXIf", 1);
  png_set_chunk_malloc_max(png, size < PNG_UINT_31_MAX ? (png_alloc_size_t)size + 1 : 0);
  png_read_info(png, reader->info);

  info->width = png_get_image_width(png, reader->info);
  info->height = png_get_image_height(png, reader->info);
  // One filter byte a row; an interlaced image has more rows, hence never fewer bytes.
  info->deflated_bytes =
      ((uint64_t)png_get_rowbytes(png, reader->info) + 1) * (uint64_t)info->height;
  info->minimum_bytes = 0;
  int colour = png_get_color_type(png, reader->info);
  info->channels = (colour & PNG_COLOR_MASK_COLOR) ? 3 : 1;
  info->bits = png_get_bit_depth(png, reader->info) == 16 ? 16 : 8;
  info->is_interlaced = png_get_interlace_type(png, reader->info) != PNG_INTERLACE_NONE;
  info->has_alpha = (colour & PNG_COLOR_MASK_ALPHA) != 0 ||
                    png_get_valid(png, reader->info, PNG_INFO_tRNS) != 0;
  info->exif = NULL;
  info->exif_size = 0;
  png_unknown_chunkp chunks = NULL;
  int chunk_count = png_get_unknown_chunks(png, reader->info, &chunks);
  for (int i = 0; i < chunk_count && !info->exif; i++) {
    if (memcmp(chunks[i].name, "eXIf", 5) != 0) continue;
    info->exif = chunks[i].data;
    info->exif_size = chunks[i].size;
  }
  reader->height = info->height;
  reader->row_bytes = (size_t)info->width * info->channels;
  return reader;
}

sparrow_png_reader *sparrow_png_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message) {
  // Not NULL, which would stand for a file.
  return open_png(bytes ? bytes : (const uint8_t *)"", -1, size, info, message);
}

sparrow_png_reader *sparrow_png_open_file(
    int descriptor, uint64_t size, sparrow_image_info *info, char *message) {
  return open_png(NULL, descriptor, size, info, message);
}

void sparrow_png_keep_depth(sparrow_png_reader *reader) { reader->keeps_depth = true; }

static bool is_little_endian(void) {
  uint16_t one = 1;
  return *(const uint8_t *)&one == 1;
}

// Returns the number of passes; leaves by longjmp on failure.
static int start(sparrow_png_reader *reader) {
  png_structp png = reader->png;
  png_set_expand(png);
  if (reader->keeps_depth) {
    if (png_get_bit_depth(png, reader->info) == 16) {
      reader->row_bytes *= 2;
      if (is_little_endian()) png_set_swap(png);
    }
  } else {
    png_set_scale_16(png);
  }
  png_set_strip_alpha(png);
  int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader->info);
  if (png_get_rowbytes(png, reader->info) != reader->row_bytes)
    png_error(png, "unexpected row size");
  reader->has_started = true;
  return passes;
}

bool sparrow_png_next_row(sparrow_png_reader *reader, void *row, char *message) {
  reader->message = message;
  if (setjmp(reader->escape)) return false;
  if (!reader->has_started && start(reader) != 1) png_error(reader->png, "interlaced");
  if (reader->next_row >= reader->height) png_error(reader->png, "no more rows");
  png_read_row(reader->png, row, NULL);
  if (++reader->next_row == reader->height) png_read_end(reader->png, NULL);
  return true;
}

bool sparrow_png_decode(sparrow_png_reader *reader, uint8_t *samples, char *message) {
  reader->message = message;
  if (setjmp(reader->escape)) return false;
  png_structp png = reader->png;
  int passes = start(reader);
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

// MARK: Writing by rows

static void row_write_failed(png_structp png, png_const_charp words) {
  sparrow_png_writer *writer = png_get_error_ptr(png);
  say(writer->message, words);
  longjmp(writer->escape, 1);
}

static void write_to_file(png_structp png, png_bytep source, size_t count) {
  sparrow_png_writer *writer = png_get_io_ptr(png);
  while (count > 0) {
    ssize_t put = write(writer->descriptor, source, count);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) png_error(png, strerror(put < 0 ? errno : EIO));
    source += put;
    count -= (size_t)put;
  }
}

sparrow_png_writer *sparrow_png_create(
    int descriptor, uint32_t width, uint32_t height, uint32_t channels, uint32_t bits,
    char *message) {
  sparrow_png_writer *writer = calloc(1, sizeof *writer);
  if (!writer) {
    say(message, "out of memory");
    return NULL;
  }
  writer->descriptor = descriptor;
  writer->message = message;
  if (setjmp(writer->escape)) {
    sparrow_png_abandon(writer);
    return NULL;
  }
  writer->png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, writer, row_write_failed, ignore_warning);
  if (writer->png) writer->info = png_create_info_struct(writer->png);
  if (!writer->info) {
    say(message, "libpng could not start");
    sparrow_png_abandon(writer);
    return NULL;
  }
  png_structp png = writer->png;
  png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_write_fn(png, writer, write_to_file, flush_nothing);
  png_set_IHDR(
      png, writer->info, width, height, (int)bits,
      channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
      PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(png, 6);
  png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
  png_write_info(png, writer->info);
  // After the header, as libpng demands.
  if (bits == 16 && is_little_endian()) png_set_swap(png);
  return writer;
}

bool sparrow_png_write_row(sparrow_png_writer *writer, const void *row, char *message) {
  writer->message = message;
  if (setjmp(writer->escape)) return false;
  png_write_row(writer->png, row);
  return true;
}

bool sparrow_png_finish(sparrow_png_writer *writer, char *message) {
  writer->message = message;
  if (setjmp(writer->escape)) return false;
  png_write_end(writer->png, NULL);
  return true;
}

void sparrow_png_abandon(sparrow_png_writer *writer) {
  if (!writer) return;
  png_destroy_write_struct(&writer->png, &writer->info);
  free(writer);
}
