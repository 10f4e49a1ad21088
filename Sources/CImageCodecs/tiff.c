// pread and 64-bit offsets, which strict C11 hides.
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64

#include "CImageCodecs.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

// From this version on, handlers and limits belong to one open file instead of the process.
#define HAS_OPTIONS (TIFFLIB_VERSION >= 20221213)

// No single piece of memory that libtiff asks for in reading a file of so many bytes is larger. Its
// tables and strips as they are packed lie in the file; what it makes of them is of their order.
static tmsize_t maximum_allocation(uint64_t size) {
  const uint64_t most = (uint64_t)1 << 30, least = (uint64_t)64 << 20;
  return (tmsize_t)(size > (most - least) / 16 ? most : least + 16 * size);
}

struct sparrow_tiff {
  TIFF *tiff;
  int descriptor;
  uint64_t size;
  uint64_t position;
  // The page that libtiff has read, or UINT32_MAX.
  uint32_t page;
  // Of that page: whether it is packed by deflate, its predictor, and the bytes of a pixel as stored.
  bool is_deflated;
  uint16_t predictor;
  size_t pixel_bytes;
  // The first error since it was last cleared: what follows are its consequences.
  char message[SPARROW_CODEC_MESSAGE_SIZE];
  bool has_failed;
};

static void say(char *message, const char *words) {
  snprintf(message, SPARROW_CODEC_MESSAGE_SIZE, "%s", words);
}

// MARK: Errors

static void note(sparrow_tiff *file, const char *format, va_list values) {
  if (!file || file->has_failed) return;
  file->has_failed = true;
  vsnprintf(file->message, sizeof file->message, format, values);
  // Names of tags and the like come from the file.
  for (char *c = file->message; *c; c++)
    if (*c < ' ' || *c > '~') *c = *c == '\n' ? ' ' : '?';
}

static void note_words(sparrow_tiff *file, const char *format, ...) {
  va_list values;
  va_start(values, format);
  note(file, format, values);
  va_end(values);
}

// libjpeg paints over damage with no more than a warning; invented pixels are an error here. So is
// a JPEG smaller than the strip or tile that it must fill. Any other warning leaves the pixels
// intact.
static void note_warning(
    sparrow_tiff *file, const char *module, const char *format, va_list values) {
  if (!module || strncmp(module, "JPEG", 4) != 0) return;
  char words[SPARROW_CODEC_MESSAGE_SIZE];
  va_list copy;
  va_copy(copy, values);
  vsnprintf(words, sizeof words, format, copy);
  va_end(copy);
  if (strstr(words, "extraneous bytes") || strstr(words, "Adobe") || strstr(words, "JFIF") ||
      strstr(words, "SOS parameters for sequential"))
    return;
  note_words(file, "%s", words);
}

static void silence(void) {
  TIFFSetErrorHandler(NULL);
  TIFFSetWarningHandler(NULL);
#if !HAS_OPTIONS
  extern void sparrow_tiff_error(thandle_t, const char *, const char *, va_list);
  extern void sparrow_tiff_warning(thandle_t, const char *, const char *, va_list);
  TIFFSetErrorHandlerExt(sparrow_tiff_error);
  TIFFSetWarningHandlerExt(sparrow_tiff_warning);
#endif
}

#if HAS_OPTIONS
static int take_error(
    TIFF *tiff, void *file, const char *module, const char *format, va_list values) {
  (void)tiff;
  (void)module;
  note(file, format, values);
  return 1;
}

static int take_warning(
    TIFF *tiff, void *file, const char *module, const char *format, va_list values) {
  (void)tiff;
  note_warning(file, module, format, values);
  return 1;
}
#else
void sparrow_tiff_error(thandle_t file, const char *module, const char *format, va_list values) {
  (void)module;
  note((sparrow_tiff *)file, format, values);
}

void sparrow_tiff_warning(thandle_t file, const char *module, const char *format, va_list values) {
  note_warning((sparrow_tiff *)file, module, format, values);
}
#endif

static void clear(sparrow_tiff *file) {
  file->has_failed = false;
  file->message[0] = 0;
}

static bool fail(sparrow_tiff *file, const char *otherwise, char *message) {
  say(message, file->has_failed && file->message[0] ? file->message : otherwise);
  return false;
}

// MARK: Input and output

static tmsize_t read_bytes(thandle_t handle, void *target, tmsize_t count) {
  sparrow_tiff *file = (sparrow_tiff *)handle;
  tmsize_t done = 0;
  while (done < count) {
    // Some systems refuse 2 GiB or more at once.
    size_t wanted = count - done < (1 << 30) ? (size_t)(count - done) : (size_t)1 << 30;
    ssize_t got = pread(file->descriptor, (char *)target + done, wanted, (off_t)file->position);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) note_words(file, "cannot read: %s", strerror(errno));
    if (got <= 0) break;
    done += got;
    file->position += (uint64_t)got;
  }
  return done;
}

static tmsize_t write_bytes(thandle_t handle, void *source, tmsize_t count) {
  sparrow_tiff *file = (sparrow_tiff *)handle;
  tmsize_t done = 0;
  while (done < count) {
    size_t wanted = count - done < (1 << 30) ? (size_t)(count - done) : (size_t)1 << 30;
    ssize_t put = pwrite(file->descriptor, (char *)source + done, wanted, (off_t)file->position);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      note_words(file, "cannot write: %s", strerror(put < 0 ? errno : EIO));
      return -1;
    }
    done += put;
    file->position += (uint64_t)put;
    if (file->position > file->size) file->size = file->position;
  }
  return done;
}

static tmsize_t write_nothing(thandle_t handle, void *source, tmsize_t count) {
  (void)handle;
  (void)source;
  (void)count;
  return -1;
}

static toff_t seek(thandle_t handle, toff_t offset, int from) {
  sparrow_tiff *file = (sparrow_tiff *)handle;
  if (from == SEEK_CUR) offset += file->position;
  if (from == SEEK_END) offset += file->size;
  // Beyond what an off_t holds there is nothing.
  if (offset > INT64_MAX) return (toff_t)-1;
  file->position = offset;
  return offset;
}

static int leave_open(thandle_t handle) {
  (void)handle;
  return 0;
}

static toff_t get_size(thandle_t handle) { return ((sparrow_tiff *)handle)->size; }

static sparrow_tiff *open_tiff(
    int descriptor, uint64_t size, const char *mode, bool writes, char *message) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, silence);
  sparrow_tiff *file = calloc(1, sizeof *file);
  if (!file) {
    say(message, "out of memory");
    return NULL;
  }
  file->descriptor = descriptor;
  file->size = size;
  file->page = UINT32_MAX;
  TIFFReadWriteProc write = writes ? write_bytes : write_nothing;
#if HAS_OPTIONS
  TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
  if (options) {
    TIFFOpenOptionsSetMaxSingleMemAlloc(
        options, writes ? (tmsize_t)1 << 30 : maximum_allocation(size));
    TIFFOpenOptionsSetErrorHandlerExtR(options, take_error, file);
    TIFFOpenOptionsSetWarningHandlerExtR(options, take_warning, file);
    file->tiff = TIFFClientOpenExt(
        "TIFF", mode, (thandle_t)file, read_bytes, write, seek, leave_open, get_size, NULL, NULL,
        options);
    TIFFOpenOptionsFree(options);
  }
#else
  file->tiff = TIFFClientOpen(
      "TIFF", mode, (thandle_t)file, read_bytes, write, seek, leave_open, get_size, NULL, NULL);
#endif
  if (!file->tiff) {
    fail(file, "not readable", message);
    free(file);
    return NULL;
  }
  return file;
}

void sparrow_tiff_close(sparrow_tiff *file) {
  if (!file) return;
  if (file->tiff) TIFFClose(file->tiff);
  free(file);
}

// MARK: Reading

sparrow_tiff *sparrow_tiff_open(
    int descriptor, uint64_t size, uint32_t *pages, char *message) {
  // Not mapped into memory, since a file that shrinks meanwhile would end the process. Large
  // uncompressed strips are chopped (C).
  sparrow_tiff *file = open_tiff(descriptor, size, "rmC", false, message);
  if (!file) return NULL;
  *pages = (uint32_t)TIFFNumberOfDirectories(file->tiff);
  if (file->has_failed || *pages == 0) {
    fail(file, "it has no page", message);
    sparrow_tiff_close(file);
    return NULL;
  }
  return file;
}

// ImageJ writes a stack of over 4 GiB as one page, followed by the samples of the others, and says so
// in the description of that page alone.
static uint32_t images_of_imagej(const char *description) {
  if (strncmp(description, "ImageJ=", 7) != 0) return 0;
  const char *images = strstr(description, "\nimages=");
  if (!images) return 0;
  unsigned long count = strtoul(images + 8, NULL, 10);
  return count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
}

// So does tifffile where it is asked to: {"shape": [3, 64, 64], "truncated": true}.
static uint64_t samples_of_tifffile(const char *description) {
  const char *shape = strstr(description, "\"shape\": [");
  if (!shape || !strstr(description, "\"truncated\": true")) return 0;
  uint64_t samples = 1;
  const char *place = shape + 9;
  do {
    char *end = NULL;
    unsigned long long length = strtoull(place + 1, &end, 10);
    if (end == place + 1 || length == 0) return 0;
    samples = samples > UINT64_MAX / length ? UINT64_MAX : samples * length;
    place = end;
  } while (*place == ',');
  return samples;
}

bool sparrow_tiff_turn(
    sparrow_tiff *file, uint32_t number, sparrow_tiff_page *page, char *message) {
  clear(file);
  TIFF *tiff = file->tiff;
  *page = (sparrow_tiff_page){0};
  // Setting walks from the first page; the next one is near.
  bool follows = file->page != UINT32_MAX && number == file->page + 1;
  file->page = UINT32_MAX;
  int is_read = follows ? TIFFReadDirectory(tiff) : TIFFSetDirectory(tiff, (tdir_t)number);
  if (!is_read || file->has_failed) return fail(file, "the page cannot be read", message);
  file->page = number;
  uint32_t kind = 0;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &kind);
  page->is_copy = (kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) != 0;
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &page->orientation);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_IMAGEDEPTH, &page->depth);
  const char *description = NULL;
  if (TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &description) && description) {
    page->described_images = images_of_imagej(description);
    page->described_samples = samples_of_tifffile(description);
  }
  uint16_t extra_count = 0;
  uint16_t *extra = NULL;
  if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &page->width) ||
      !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &page->height))
    return fail(file, "its size is not given", message);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &page->bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &page->samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &page->format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &page->compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &page->planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
  if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &page->photometric))
    return fail(file, "its photometric interpretation is not given", message);
  page->extra_count = extra_count;
  for (uint16_t i = 0; i < extra_count; i++)
    if (extra && extra[i] != EXTRASAMPLE_UNSPECIFIED) page->alpha_count++;
  file->is_deflated =
      page->compression == COMPRESSION_ADOBE_DEFLATE || page->compression == COMPRESSION_DEFLATE;
  file->predictor = PREDICTOR_NONE;
  if (file->is_deflated) TIFFGetFieldDefaulted(tiff, TIFFTAG_PREDICTOR, &file->predictor);
  file->pixel_bytes = (size_t)(page->planar == PLANARCONFIG_SEPARATE ? 1 : page->samples) *
                      (page->bits / 8u);
  page->is_readable = TIFFIsCODECConfigured(page->compression) != 0;
  if (page->compression == COMPRESSION_JPEG && page->photometric == PHOTOMETRIC_YCBCR &&
      page->is_readable) {
    // libjpeg converts, and sizes below are those of RGB.
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    page->photometric = PHOTOMETRIC_RGB;
  }
  page->is_tiled = TIFFIsTiled(tiff) != 0;
  if (page->is_tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &page->chunk_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &page->chunk_height);
    page->chunk_bytes = TIFFTileSize64(tiff);
  } else {
    uint32_t rows = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
    page->chunk_width = page->width;
    page->chunk_height = rows < page->height ? rows : page->height;
    page->chunk_bytes = TIFFStripSize64(tiff);
    page->row_bytes = TIFFScanlineSize64(tiff);
  }
  if (page->described_images > 1 || page->described_samples > 1) {
    uint32_t count = page->is_tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff);
    uint64_t start = count > 0 ? TIFFGetStrileOffset(tiff, count - 1) : 0;
    uint64_t bytes = count > 0 ? TIFFGetStrileByteCount(tiff, count - 1) : 0;
    if (start <= UINT64_MAX - bytes) page->end = start + bytes;
  }
  if (file->has_failed) return fail(file, "the page cannot be read", message);
  return true;
}

bool sparrow_tiff_palette(sparrow_tiff *file, uint8_t colours[768], char *message) {
  clear(file);
  uint16_t *channel[3] = {NULL, NULL, NULL};
  if (!TIFFGetField(file->tiff, TIFFTAG_COLORMAP, &channel[0], &channel[1], &channel[2]) ||
      !channel[0] || !channel[1] || !channel[2])
    return fail(file, "its palette is missing", message);
  // The specification's 16 bits; but some old programs wrote 8.
  bool is_deep = false;
  for (int i = 0; i < 256; i++)
    for (int c = 0; c < 3; c++) is_deep |= channel[c][i] > 255;
  for (int i = 0; i < 256; i++)
    for (int c = 0; c < 3; c++)
      colours[3 * i + c] =
          (uint8_t)(is_deep ? (channel[c][i] + 128u) / 257u : channel[c][i]);
  return true;
}

static bool read_chunk(
    sparrow_tiff *file, uint32_t x, uint32_t y, uint16_t plane, void *target, size_t size,
    char *message) {
  clear(file);
  TIFF *tiff = file->tiff;
  tmsize_t got =
      TIFFIsTiled(tiff)
          ? TIFFReadEncodedTile(
                tiff, TIFFComputeTile(tiff, x, y, 0, plane), target, (tmsize_t)size)
          : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, plane), target, (tmsize_t)size);
  if (got < 0 || file->has_failed) return fail(file, "damaged", message);
  if ((size_t)got != size) return fail(file, "a strip or tile is too short", message);
  return true;
}

enum { UNWRITTEN = 0xA5, OTHERWISE = 0x5A };

// Whether the end of what was unpacked may be what was there before: 0xA5 in each byte, to which a
// predictor adds the sample before.
static bool may_be_unwritten(const sparrow_tiff *file, const uint8_t *target, size_t size) {
  // Bytes of floats are shuffled.
  if (file->predictor == PREDICTOR_FLOATINGPOINT) return true;
  if (target[size - 1] == UNWRITTEN) return true;
  if (file->predictor != PREDICTOR_HORIZONTAL) return false;
  for (size_t back = 1; back <= 2; back++)
    if (size >= back + file->pixel_bytes &&
        (uint8_t)(target[size - back] - target[size - back - file->pixel_bytes]) == UNWRITTEN)
      return true;
  return false;
}

bool sparrow_tiff_read_chunk(
    sparrow_tiff *file, uint32_t x, uint32_t y, uint16_t plane, void *target, size_t size,
    char *message) {
  // With libdeflate, libtiff takes damaged data for whole where they promise more than there is room
  // for, and leaves the rest as it was. What may be so is unpacked once more into other bytes.
  if (file->is_deflated) memset(target, UNWRITTEN, size);
  if (!read_chunk(file, x, y, plane, target, size, message)) return false;
  if (!file->is_deflated || size == 0 || !may_be_unwritten(file, target, size)) return true;
  uint8_t *again = malloc(size);
  if (!again) {
    say(message, "out of memory");
    return false;
  }
  memset(again, OTHERWISE, size);
  bool is_same = read_chunk(file, x, y, plane, again, size, message);
  if (is_same && memcmp(target, again, size) != 0) {
    say(message, "damaged: a strip or tile ends early");
    is_same = false;
  }
  free(again);
  return is_same;
}

bool sparrow_tiff_read_row(sparrow_tiff *file, uint32_t y, void *target, char *message) {
  clear(file);
  if (TIFFReadScanline(file->tiff, target, y, 0) != 1 || file->has_failed)
    return fail(file, "damaged", message);
  return true;
}

// MARK: Writing

sparrow_tiff *sparrow_tiff_create(
    int descriptor, const sparrow_tiff_layout *layout, char *message) {
  sparrow_tiff *file = open_tiff(descriptor, 0, layout->is_big ? "w8" : "w4", true, message);
  if (!file) return NULL;
  TIFF *tiff = file->tiff;
  bool is_set =
      TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, layout->width) &&
      TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, layout->height) &&
      TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, layout->channels) &&
      TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, layout->bits) &&
      TIFFSetField(
          tiff, TIFFTAG_SAMPLEFORMAT,
          layout->is_float ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT) &&
      TIFFSetField(
          tiff, TIFFTAG_PHOTOMETRIC,
          layout->channels == 1 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB) &&
      TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) &&
      TIFFSetField(tiff, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT) &&
      TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, layout->rows_per_strip) &&
      TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE) &&
      TIFFSetField(tiff, TIFFTAG_ZIPQUALITY, 6) &&
      // Differences help the noise of cameras; programs that cannot undo them are few for
      // integers, but many for floating point.
      TIFFSetField(
          tiff, TIFFTAG_PREDICTOR,
          layout->bits == 16 ? PREDICTOR_HORIZONTAL : PREDICTOR_NONE);
  if (!is_set || file->has_failed) {
    fail(file, "libtiff refuses the layout", message);
    sparrow_tiff_close(file);
    return NULL;
  }
  return file;
}

bool sparrow_tiff_write_strip(
    sparrow_tiff *file, uint32_t strip, void *source, size_t size, char *message) {
  clear(file);
  tmsize_t put = TIFFWriteEncodedStrip(file->tiff, strip, source, (tmsize_t)size);
  if (put != (tmsize_t)size || file->has_failed) return fail(file, "cannot write", message);
  return true;
}

bool sparrow_tiff_finish(sparrow_tiff *file, char *message) {
  clear(file);
  bool is_written = TIFFWriteDirectory(file->tiff) == 1;
  // Closing writes what is left, and has no result of its own.
  TIFFClose(file->tiff);
  file->tiff = NULL;
  if (!is_written || file->has_failed) return fail(file, "cannot write", message);
  return true;
}
