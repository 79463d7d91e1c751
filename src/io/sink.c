#include "io/sink.h"

#include "base/mem.h"
#include "base/str.h"

#include <fcntl.h>
#include <poll.h>

/* A pipe that is ready takes this much whole (PIPE_BUF); longer lines are cut. */
#define LINE_MAX_BYTES 4000

struct sink {
    int fd;
    bool is_owned;
    uint64_t lost;
    uint64_t told; /* of the lost ones, reported already */
};

int sink_open(const char *folder, const char *name, struct sink **ret, struct err *e)
{
    char path[4096];
    struct sink *sink;
    int fd = STDERR_FILENO;

    if (folder[0] != '\0') {
        if (!str_format(path, sizeof(path), "%s/%s", folder, name)) {
            return FAIL(e, ERR_LIMIT, "the log path is too long: %s", folder);
        }
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0) {
            return FAIL(e, ERR_IO, "cannot open the log %s: %s", path, strerror(errno));
        }
    }
    sink = mem_alloc(sizeof(*sink));
    sink->fd = fd;
    sink->is_owned = fd != STDERR_FILENO;
    *ret = sink;
    return 0;
}

void sink_close(struct sink *sink)
{
    if (sink == NULL) {
        return;
    }
    if (sink->is_owned) {
        close(sink->fd);
    }
    mem_free(sink);
}

static bool write_line(struct sink *sink, const char *line)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    char text[LINE_MAX_BYTES + 2];

    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
        return false;
    }
    IGNORE(!str_copy(text, LINE_MAX_BYTES + 1, line), "a cut line is still a line");
    {
        size_t length = strlen(text);

        text[length] = '\n';
        return write(sink->fd, text, length + 1) == (ssize_t)(length + 1);
    }
}

void sink_write(struct sink *sink, const char *line)
{
    char note[96];

    if (sink->lost > sink->told) {
        IGNORE(
            !str_format(
                note, sizeof(note), "baton: %" PRIu64 " log lines were lost: nobody was reading",
                sink->lost - sink->told),
            "fits");
        if (write_line(sink, note)) {
            sink->told = sink->lost;
        }
    }
    if (!write_line(sink, line)) {
        sink->lost++;
    }
}

uint64_t sink_lost(const struct sink *sink)
{
    return sink->lost;
}
