#include "config/option.h"

#include "base/assert.h"
#include "base/str.h"

#define IN_CONFIG(member) \
    { \
        offsetof(struct config, member), sizeof(((const struct config *)NULL)->member) \
    }
#define IN_SETTINGS(member) \
    { \
        offsetof(struct cluster_settings, member), \
            sizeof(((const struct cluster_settings *)NULL)->member) \
    }

/* The last arguments begin with the help sentence. */
#define ROW(path_, type_, scope_, reload_, ...) \
    {.path = (path_), \
     .type = OPTION_##type_, \
     .scope = SCOPE_##scope_, \
     .reload = RELOAD_##reload_, \
     .help = __VA_ARGS__},
#define IDLE(path_, type_, scope_, use_, remark_, ...) \
    {.path = (path_), \
     .type = OPTION_##type_, \
     .scope = SCOPE_##scope_, \
     .use = USE_##use_, \
     .remark = (remark_), \
     .help = __VA_ARGS__},
#define BELOW(path_, type_, scope_, ...) \
    {.path = (path_), .type = OPTION_##type_, .scope = SCOPE_##scope_, .help = __VA_ARGS__},
#define REFUSED(path_, type_, scope_, remark_, ...) \
    {.path = (path_), \
     .type = OPTION_##type_, \
     .scope = SCOPE_##scope_, \
     .use = USE_REFUSED, \
     .remark = (remark_), \
     .help = __VA_ARGS__},

static const struct option options[] = {
#include "config/option.def"
};

_Static_assert(ARRAY_LEN(options) <= OPTIONS_MAX, "raise OPTIONS_MAX");
/* The words of synchronous_mode. */
_Static_assert(SYNC_OFF == 0 && SYNC_ON == 1 && SYNC_QUORUM == 2, "off on quorum");

unsigned option_count(void)
{
    return (unsigned)ARRAY_LEN(options);
}

const struct option *option_at(unsigned index)
{
    ASSERT(index < ARRAY_LEN(options));
    return &options[index];
}

unsigned option_index(const struct option *option)
{
    ASSERT(option >= options && option < options + ARRAY_LEN(options));
    return (unsigned)(option - options);
}

const struct option *option_find(const char *path, bool *ret_is_alias)
{
    for (unsigned at = 0; at < ARRAY_LEN(options); at++) {
        bool is_alias = options[at].alias != NULL && str_equal(options[at].alias, path);

        if (is_alias || str_equal(options[at].path, path)) {
            if (ret_is_alias != NULL) {
                *ret_is_alias = is_alias;
            }
            return &options[at];
        }
    }
    return NULL;
}

const struct option *option_find_variable(const char *variable, size_t length)
{
    for (unsigned at = 0; at < ARRAY_LEN(options); at++) {
        const char *known = options[at].environment;
        size_t known_length = known != NULL ? strlen(known) : 0;

        if (known_length == 0) {
            continue;
        }
        if (known[known_length - 1] == '*' && length >= known_length - 1 &&
            memcmp(known, variable, known_length - 1) == 0) {
            return &options[at];
        }
        if (length == known_length && memcmp(known, variable, length) == 0) {
            return &options[at];
        }
    }
    return NULL;
}

const char *option_name(const struct option *option)
{
    const char *dot = strrchr(option->path, '.');

    return dot != NULL ? dot + 1 : option->path;
}

/* Whether PATH is SECTION ("" or "postgresql.") and one more part. */
static bool is_directly_in(const char *path, const char *section)
{
    return str_starts(path, section) && strchr(path + strlen(section), '.') == NULL;
}

/* Edits that still look like a slip of the finger in a text of this length. */
static unsigned distance_limit(const char *text)
{
    size_t length = strlen(text);

    return length <= 3 ? 1 : length <= 6 ? 2 : 3;
}

const struct option *option_nearest(const char *section, const char *key, enum option_scope scope)
{
    const struct option *best = NULL;
    unsigned best_distance = distance_limit(key) + 1;

    for (unsigned at = 0; at < ARRAY_LEN(options); at++) {
        if ((options[at].scope & scope) != 0 && is_directly_in(options[at].path, section)) {
            unsigned distance = str_distance(key, options[at].path + strlen(section));

            if (distance < best_distance) {
                best = &options[at];
                best_distance = distance;
            }
        }
    }
    for (unsigned at = 0; best == NULL && at < ARRAY_LEN(options); at++) {
        if ((options[at].scope & scope) != 0 && str_equal(option_name(&options[at]), key)) {
            best = &options[at];
        }
    }
    return best;
}

const char *option_nearest_variable(const char *variable)
{
    const char *best = NULL;
    unsigned best_distance = distance_limit(variable) + 1;

    for (unsigned at = 0; at < ARRAY_LEN(options); at++) {
        if (options[at].environment != NULL) {
            unsigned distance = str_distance(variable, options[at].environment);

            if (distance < best_distance) {
                best = options[at].environment;
                best_distance = distance;
            }
        }
    }
    return best;
}

const char *option_type_text(const struct option *option, char *buffer)
{
    static const char *const texts[OPTION_TYPES] = {
        [OPTION_SECTION] = "section",
        [OPTION_TEXT] = "text",
        [OPTION_NAME] = "name",
        [OPTION_INT] = "whole number",
        [OPTION_BOOL] = "true or false",
        [OPTION_DURATION] = "seconds, or a number with unit ms s min h d",
        [OPTION_BYTES] = "bytes, or a number with unit kB MB GB TB",
        [OPTION_PATH] = "absolute path",
        [OPTION_SECRET] = "secret text",
        [OPTION_PASSWORD] = "secret text",
        [OPTION_ADDRESS] = "HOST:PORT",
        [OPTION_LISTEN] = "HOST[,HOST]:PORT",
        [OPTION_HOST] = "HOST:PORT",
        [OPTION_HOSTS] = "list of HOST:PORT",
        [OPTION_URL] = "http(s)://HOST:PORT",
        [OPTION_PROTOCOL] = "http or https",
        [OPTION_LIST] = "list of text",
        [OPTION_INITDB] = "list of NAME and NAME: VALUE",
        [OPTION_MAP] = "names with values",
        [OPTION_PARAMETERS] = "names with values",
        [OPTION_DCS] = "section of the dynamic options",
        [OPTION_ANY] = "anything",
    };

    if (option->type == OPTION_WORD) {
        str_format(buffer, OPTION_PATH_SIZE, "one of %s", option->words);
    } else if (option->type == OPTION_INT && option->min < option->max) {
        str_format(
            buffer, OPTION_PATH_SIZE, "whole number, %" PRId64 " to %" PRId64, option->min,
            option->max);
    } else {
        str_copy(buffer, OPTION_PATH_SIZE, texts[option->type]);
    }
    return buffer;
}

const char *option_reload_text(enum option_reload reload)
{
    static const char *const texts[] = {
        [RELOAD_NOW] = "takes effect at once",
        [RELOAD_STORE] =
            "takes effect at once in the store, needs a restart of the agent in the file",
        [RELOAD_AGENT] = "needs a restart of the agent",
        [RELOAD_DATABASE] = "needs a restart of the agent and of the database",
        [RELOAD_NEVER] = "has no effect on a cluster that exists",
    };

    return texts[reload];
}
