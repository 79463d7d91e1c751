/* Answers of a server: each input goes through every reader. */
#include "base/mem.h"
#include "dcs/etcd_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *body = mem_copy(bytes, size);
    AUTO_FREE struct etcd_members *members = mem_alloc(sizeof(*members));
    struct cache cache = {.revision = 3};
    struct cache fresh = {.revision = 0};
    struct etcd_header header;
    struct etcd_error error;
    struct etcd_status status;
    struct etcd_watch_answer answer;
    char token[64];
    int64_t number = 0;
    bool flag = false;
    unsigned good = 0;

    good += etcd_wire_error(200, body, size, &error) == ETCD_ERROR_NONE;
    good += etcd_wire_error(404, body, size, &error) == ETCD_ERROR_NONE;
    good += etcd_wire_read_range(body, size, "/service/test/", &fresh, &header, NULL) == 0;
    good += etcd_wire_read_txn(body, size, &flag, &header, NULL) == 0;
    good += etcd_wire_read_lease(body, size, &number, &number, NULL) == 0;
    good += etcd_wire_read_token(body, size, token, sizeof(token), NULL) == 0;
    good += etcd_wire_read_status(body, size, &status, NULL) == 0;
    good += etcd_wire_read_members(body, size, members, NULL) == 0;
    good += etcd_wire_read_watch(body, size, "/service/test/", &cache, &answer, NULL) == 0;
    cache_fini(&cache);
    cache_fini(&fresh);
    return good > 10 ? -1 : 0;
}
