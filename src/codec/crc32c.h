/* crc32c.h - CRC-32C (Castagnoli), the checksum of pg_control and of WAL records. */
#pragma once

#include "base/base.h"

/* The checksum of LENGTH bytes, or of bytes in pieces: start with 0 and pass the result of one
 * piece to the next. While the end of a dead server's log is searched nobody can write, so the
 * processor's own instruction is used where there is one: some gigabytes a second. */
uint32_t crc32c(uint32_t before, const void *bytes, size_t length);

/* The same on every processor, some hundred megabytes a second. */
uint32_t crc32c_by_table(uint32_t before, const void *bytes, size_t length);
