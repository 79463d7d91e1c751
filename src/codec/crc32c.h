/* crc32c.h - CRC-32C (Castagnoli), the checksum of pg_control and of WAL records. */
#pragma once

#include "base/base.h"

/* The checksum of LENGTH bytes, or of bytes in pieces: start with 0 and pass the result of one
 * piece to the next. */
uint32_t crc32c(uint32_t before, const void *bytes, size_t length);
