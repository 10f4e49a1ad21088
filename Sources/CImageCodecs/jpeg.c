#include "CImageCodecs.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// jpeglib.h needs the types of stdio.h and stddef.h before it.
#include <jerror.h>
#include <jpeglib.h>

// A progressive file may repeat cheap scans of a huge image for ever; none in practice has as many.
enum { MAXIMUM_SCANS = 256, MAXIMUM_ARITHMETIC_PIXELS = 1 << 24 };

struct sparrow_jpeg_reader {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char *message;
};

static void say(char *message, const char *words) {
  snprintf(message, SPARROW_CODEC_MESSAGE_SIZE, "%s", words);
}

static void fail(j_common_ptr jpeg) {
  sparrow_jpeg_reader *reader = jpeg->client_data;
  char words[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, words);
  say(reader->message, words);
  longjmp(reader->escape, 1);
}

// libjpeg paints over damage and goes on. Invented pixels must not become training data, so damage
// is an error; oddities that leave the pixels intact are not.
static void take_warning(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    // Numbers of a scan that mean something in a progressive file alone; some cameras leave them 0.
    case JWRN_NOT_SEQUENTIAL:
      return;
    default:
      fail(jpeg);
  }
}

static void print_nothing(j_common_ptr jpeg) { (void)jpeg; }

static void watch_scans(j_common_ptr jpeg) {
  sparrow_jpeg_reader *reader = jpeg->client_data;
  if (reader->jpeg.input_scan_number > MAXIMUM_SCANS) {
    say(reader->message, "too many scans");
    longjmp(reader->escape, 1);
  }
}

sparrow_jpeg_reader *sparrow_jpeg_open(
    const uint8_t *bytes, size_t size, sparrow_image_info *info, char *message) {
  sparrow_jpeg_reader *reader = calloc(1, sizeof *reader);
  if (!reader) {
    say(message, "out of memory");
    return NULL;
  }
  reader->message = message;
  reader->jpeg.err = jpeg_std_error(&reader->errors);
  reader->errors.error_exit = fail;
  reader->errors.emit_message = take_warning;
  reader->errors.output_message = print_nothing;
  reader->jpeg.client_data = reader;
  if (setjmp(reader->escape)) {
    sparrow_jpeg_close(reader);
    return NULL;
  }
  jpeg_create_decompress(&reader->jpeg);
  reader->progress.progress_monitor = watch_scans;
  reader->jpeg.progress = &reader->progress;
  reader->jpeg.mem->max_memory_to_use = 1L << 30;
  jpeg_mem_src(&reader->jpeg, bytes, (unsigned long)size);
  // The file is in memory, and what is kept is of its size at most.
  jpeg_save_markers(&reader->jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&reader->jpeg, TRUE);

  if (reader->jpeg.jpeg_color_space == JCS_GRAYSCALE) {
    reader->jpeg.out_color_space = JCS_GRAYSCALE;
    info->channels = 1;
  } else if (reader->jpeg.num_components == 3) {
    reader->jpeg.out_color_space = JCS_RGB;
    info->channels = 3;
  } else {
    snprintf(
        message, SPARROW_CODEC_MESSAGE_SIZE, "%s colours (%d components) are not read",
        reader->jpeg.num_components == 4 ? "CMYK" : "unknown", reader->jpeg.num_components);
    sparrow_jpeg_close(reader);
    return NULL;
  }
  // There is no saying how little arithmetic coding makes of a blank image, and nobody uses it.
  if (reader->jpeg.arith_code &&
      reader->jpeg.image_width > MAXIMUM_ARITHMETIC_PIXELS / reader->jpeg.image_height) {
    say(message, "arithmetic coding is read up to 2^24 pixels");
    sparrow_jpeg_close(reader);
    return NULL;
  }
  // The accurate integer transform, the same on every machine.
  reader->jpeg.dct_method = JDCT_ISLOW;
  info->width = reader->jpeg.image_width;
  info->height = reader->jpeg.image_height;
  info->deflated_bytes = 0;
  uint64_t blocks = 0;
  for (int c = 0; c < reader->jpeg.num_components; c++)
    blocks += (uint64_t)reader->jpeg.comp_info[c].width_in_blocks *
              (uint64_t)reader->jpeg.comp_info[c].height_in_blocks;
  info->minimum_bytes = reader->jpeg.arith_code ? 0 : blocks / 8;
  info->bits = 8;
  info->is_interlaced = false;
  info->has_alpha = false;
  info->exif = NULL;
  info->exif_size = 0;
  for (jpeg_saved_marker_ptr marker = reader->jpeg.marker_list; marker; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1 || marker->data_length < 6 ||
        memcmp(marker->data, "Exif\0\0", 6) != 0)
      continue;
    info->exif = marker->data;
    info->exif_size = marker->data_length;
    break;
  }
  return reader;
}

bool sparrow_jpeg_decode(sparrow_jpeg_reader *reader, uint8_t *samples, char *message) {
  reader->message = message;
  if (setjmp(reader->escape)) return false;
  jpeg_start_decompress(&reader->jpeg);
  size_t row_bytes =
      (size_t)reader->jpeg.output_width * (size_t)reader->jpeg.output_components;
  while (reader->jpeg.output_scanline < reader->jpeg.output_height) {
    JSAMPROW row = samples + (size_t)reader->jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&reader->jpeg, &row, 1);
  }
  jpeg_finish_decompress(&reader->jpeg);
  return true;
}

void sparrow_jpeg_close(sparrow_jpeg_reader *reader) {
  if (!reader) return;
  jpeg_destroy_decompress(&reader->jpeg);
  free(reader);
}
