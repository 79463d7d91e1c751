#include "base/mem.h"

#include "base/assert.h"

#include <malloc.h>

#define CHUNK_SIZE ((size_t)4096)
#define LARGE_SIZE (128 * 1024)

struct chunk {
    struct chunk *next;
    size_t used;
    size_t size;
    _Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
    struct chunk *chunks;
    size_t total;
    size_t limit;
};

__attribute__((noreturn, cold)) static void out_of_memory(size_t size)
{
    fprintf(stderr, "baton: out of memory, %zu bytes asked for\n", size);
    abort();
}

void mem_stay_small(void)
{
    /* Set at all, the limit stays where it is: by itself the C library raises it with each large
     * piece that is freed, and keeps the next one. */
    IGNORE(mallopt(M_ARENA_MAX, 1), "only more memory");
    IGNORE(mallopt(M_MMAP_THRESHOLD, LARGE_SIZE), "only more memory");
    IGNORE(mallopt(M_TRIM_THRESHOLD, LARGE_SIZE), "only more memory");
}

void *mem_alloc(size_t size)
{
    void *bytes = calloc(1, MAX(size, (size_t)1));

    if (bytes == NULL) {
        out_of_memory(size);
    }
    return bytes;
}

void *mem_alloc_array(size_t count, size_t size)
{
    void *bytes = calloc(MAX(count, (size_t)1), MAX(size, (size_t)1));

    if (bytes == NULL) {
        out_of_memory(size);
    }
    return bytes;
}

void *mem_resize(void *pointer, size_t size)
{
    void *bytes = realloc(pointer, MAX(size, (size_t)1));

    if (bytes == NULL) {
        out_of_memory(size);
    }
    return bytes;
}

void *mem_copy(const void *bytes, size_t size)
{
    void *copy = mem_alloc(size);

    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

char *mem_dup_length(const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1);

    memcpy(copy, text, length);
    return copy;
}

char *mem_dup(const char *text)
{
    ASSERT(text != NULL);
    return mem_dup_length(text, strlen(text));
}

void *mem_free(void *pointer)
{
    free(pointer);
    return NULL;
}

void mem_wipe(void *bytes, size_t size)
{
    explicit_bzero(bytes, size);
}

void mem_auto_free(void *slot)
{
    void **pointer = slot;

    free(*pointer);
    *pointer = NULL;
}

struct arena *arena_new(size_t limit_bytes)
{
    struct arena *arena = mem_alloc(sizeof(*arena));

    arena->limit = limit_bytes;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    for (struct chunk *chunk = arena->chunks; chunk != NULL;) {
        struct chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
    free(arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct chunk *chunk = arena->chunks;
    void *bytes;

    ASSERT(rounded >= size);
    if (chunk == NULL || chunk->size - chunk->used < rounded) {
        size_t room = MAX(rounded, CHUNK_SIZE);

        ASSERT(arena->total + room <= arena->limit);
        chunk = mem_alloc(sizeof(*chunk) + room);
        chunk->size = room;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->total += room;
    }
    bytes = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return bytes;
}

char *arena_dup(struct arena *arena, const char *text)
{
    size_t length = strlen(text);
    char *copy = arena_alloc(arena, length + 1);

    memcpy(copy, text, length);
    return copy;
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    va_list args;
    char *text;
    int length;

    ASSERT(format != NULL);
    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(length >= 0);
    text = arena_alloc(arena, (size_t)length + 1);
    va_start(args, format);
    IGNORE(vsnprintf(text, (size_t)length + 1, format, args) != length, "measured above");
    va_end(args);
    return text;
}
