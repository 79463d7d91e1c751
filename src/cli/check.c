#include "base/mem.h"
#include "base/str.h"
#include "cli/target.h"

#include <stdio.h>

#define LINE_MAX_BYTES 2048

int cli_check(const char *path)
{
    struct config *config = NULL;
    AUTO_FREE struct findings *findings = NULL;
    struct err e = {0};

    if (target_read_config(path, &config, &findings, &e) < 0) {
        fprintf(stderr, "baton agent --check: %s\n", err_text(&e));
        return CLI_FAILED;
    }
    config_free(config);
    for (unsigned at = 0; at < MIN(findings->count, FINDINGS_MAX); at++) {
        struct str line AUTO_STR = STR_INIT(LINE_MAX_BYTES);

        finding_format(&findings->items[at], &line);
        puts(str_text(&line));
    }
    if (findings->count > FINDINGS_MAX) {
        printf("... and %u more\n", findings->count - FINDINGS_MAX);
    }
    return findings->errors > 0 ? CLI_FAILED : CLI_DONE;
}
