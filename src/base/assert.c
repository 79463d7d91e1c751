#include "base/assert.h"

void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "baton: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}
