/* codec.h - bytes to values and back, without any I/O. Each part is fuzzed (x_fuzz.c beside
 * x.c). */
#pragma once

#include "codec/control.h"
#include "codec/crc32c.h"
#include "codec/field.h"
#include "codec/history.h"
#include "codec/record.h"
#include "codec/tail.h"
#include "codec/url.h"
#include "codec/yaml.h"
