#define _GNU_SOURCE
#include "CExecutable.h"

#include <stdint.h>
#include <string.h>

#ifdef __APPLE__

#include <mach-o/dyld.h>
#include <mach-o/loader.h>

size_t sparrow_build_id(unsigned char *bytes, size_t capacity) {
  const struct mach_header_64 *header = (const struct mach_header_64 *)_dyld_get_image_header(0);
  if (!header || header->magic != MH_MAGIC_64) return 0;
  const unsigned char *place = (const unsigned char *)(header + 1);
  for (uint32_t index = 0; index < header->ncmds; index += 1) {
    const struct load_command *command = (const struct load_command *)place;
    if (command->cmd == LC_UUID) {
      const struct uuid_command *uuid = (const struct uuid_command *)place;
      if (sizeof uuid->uuid > capacity) return 0;
      memcpy(bytes, uuid->uuid, sizeof uuid->uuid);
      return sizeof uuid->uuid;
    }
    place += command->cmdsize;
  }
  return 0;
}

#else

#include <link.h>

struct target {
  unsigned char *bytes;
  size_t capacity, size;
};

static size_t padded(size_t size, size_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

// Looks through notes that lie one behind another.
static void find(const unsigned char *place, size_t size, size_t alignment, struct target *target) {
  ElfW(Nhdr) note;
  while (size >= sizeof note) {
    memcpy(&note, place, sizeof note);
    size_t name = padded(note.n_namesz, alignment), content = padded(note.n_descsz, alignment);
    size -= sizeof note;
    place += sizeof note;
    if (name > size || note.n_descsz > size - name) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(place, "GNU", 4) == 0) {
      if (note.n_descsz > target->capacity) return;
      memcpy(target->bytes, place + name, note.n_descsz);
      target->size = note.n_descsz;
      return;
    }
    if (content > size - name) return;
    place += name + content;
    size -= name + content;
  }
}

// The executable itself comes first.
static int visit(struct dl_phdr_info *info, size_t size, void *target) {
  (void)size;
  for (size_t index = 0; index < info->dlpi_phnum; index += 1) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[index];
    if (header->p_type != PT_NOTE) continue;
    find(
        (const unsigned char *)(uintptr_t)(info->dlpi_addr + header->p_vaddr), header->p_memsz,
        header->p_align == 8 ? 8 : 4, target);
  }
  return 1;
}

size_t sparrow_build_id(unsigned char *bytes, size_t capacity) {
  struct target target = {bytes, capacity, 0};
  dl_iterate_phdr(visit, &target);
  return target.size;
}

#endif
