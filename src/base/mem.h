/* mem.h - memory, in three ways only.
 *
 *   1. objects: x_new / x_free; free accepts NULL and half-built objects.
 *   2. an arena, passed explicitly, for one request or one command, freed whole.
 *   3. locals with a cleanup attribute (AUTO_FREE, AUTO(x_free)), moved out with TAKE.
 *
 * Allocations here are small and bounded by the caller; when memory is gone they abort (a restarted
 * agent is a tested path). A size that came from outside must be compared with a named maximum
 * first, and refused with ERR_LIMIT. */
#pragma once

#include "base/base.h"

/* For a process that runs for months: threads share one heap, and what is large goes back to the
 * system when it is freed. Before the first thread. */
void mem_stay_small(void);

/* SIZE zeroed bytes; never NULL. */
void *mem_alloc(size_t size);

/* COUNT * SIZE zeroed bytes with an overflow check; never NULL. */
void *mem_alloc_array(size_t count, size_t size);

/* Change the size of POINTER (may be NULL); never NULL. New bytes are not zeroed. */
void *mem_resize(void *pointer, size_t size);

/* Copy of TEXT, of its first LENGTH bytes, of SIZE bytes. Never NULL. */
char *mem_dup(const char *text);
char *mem_dup_length(const char *text, size_t length);
void *mem_copy(const void *bytes, size_t size);

/* Free POINTER (may be NULL); returns NULL, so `p = mem_free(p)` leaves nothing dangling. */
void *mem_free(void *pointer);

/* Wipe SIZE secret bytes in a way that the compiler keeps. */
void mem_wipe(void *bytes, size_t size);

/* Cleanup attributes. AUTO(f) calls `f(p)` on leaving the scope; f must accept NULL. */
void mem_auto_free(void *slot);
#define AUTO_FREE __attribute__((cleanup(mem_auto_free)))
#define AUTO(function) __attribute__((cleanup(function##_auto)))
#define AUTO_DEFINE(type, function) \
    UNUSED static inline void function##_auto(type **slot) \
    { \
        if (*slot != NULL) { \
            function(*slot); \
            *slot = NULL; \
        } \
    }

/* Move a pointer out of a cleanup variable: evaluates to its value and leaves NULL. */
#define TAKE(pointer) \
    __extension__({ \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL; \
        taken_; \
    })

/* An arena: many small allocations, freed together. `limit_bytes` bounds it; going over aborts. */
struct arena;
struct arena *arena_new(size_t limit_bytes);
void arena_free(struct arena *arena);
AUTO_DEFINE(struct arena, arena_free)

/* SIZE zeroed bytes from ARENA, aligned for any type; never NULL. */
void *arena_alloc(struct arena *arena, size_t size);

/* Copy of TEXT, or formatted text, in ARENA; never NULL. */
char *arena_dup(struct arena *arena, const char *text);
char *arena_format(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
