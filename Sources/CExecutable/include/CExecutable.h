// What the linker notes in an executable.
#ifndef SPARROW_CEXECUTABLE_H
#define SPARROW_CEXECUTABLE_H

#include <stddef.h>

// Copies what tells the running executable from every other build of it, the build ID of ELF or the
// UUID of Mach-O, and returns its size: 0 where the linker wrote none, or one of more than `capacity`
// bytes.
size_t sparrow_build_id(unsigned char *bytes, size_t capacity);

#endif
