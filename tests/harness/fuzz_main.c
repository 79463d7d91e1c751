/* fuzz_main.c - replays saved inputs through a fuzz target, so that every fuzzer is an ordinary
 * test as well.
 *
 * Arguments are files or folders. At least one input must exist: a replay of nothing proves
 * nothing. */
#include "base/base.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define INPUT_SIZE_MAX ((size_t)16 << 20)

static size_t replayed;

static int replay_file(const char *path)
{
    static uint8_t input[INPUT_SIZE_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;
    size_t size;

    if (file == NULL) {
        fprintf(stderr, "cannot open %s: %s\n", path, strerror(errno));
        return 1;
    }
    size = fread(input, 1, sizeof(input), file);
    fclose(file);
    /* An exact copy, so that the sanitizer sees a read past the end. */
    bytes = malloc(size + (size == 0));
    if (bytes == NULL) {
        fprintf(stderr, "no memory for %s\n", path);
        return 1;
    }
    memcpy(bytes, input, size);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    replayed++;
    return 0;
}

static int replay(const char *path)
{
    DIR *folder = opendir(path);
    int result = 0;

    if (folder == NULL) {
        return replay_file(path);
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char file[4096];

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        result |= replay_file(file);
    }
    closedir(folder);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;

    for (int at = 1; at < argc; at++) {
        result |= replay(argv[at]);
    }
    if (replayed == 0) {
        fprintf(stderr, "no input found\n");
        return 1;
    }
    printf("%zu inputs replayed\n", replayed);
    return result;
}
