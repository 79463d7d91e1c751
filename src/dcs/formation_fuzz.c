/* Answers of other agents, and logs of a server. */
#include "base/mem.h"
#include "dcs/formation.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    AUTO_FREE char *text = mem_dup_length((const char *)bytes, size);
    struct formation_self self = {.name = "n1", .peer_url = "http://10.0.0.1:2380"};
    struct formation_peer peer = {.address = "10.0.0.2:8008"};
    struct formation_plan plan;
    char why[64];

    if (formation_decode(text, size, &peer.answer, NULL) == 0) {
        AUTO_FREE char *json = formation_encode(&peer.answer);

        formation_decide(&self, &peer, 1, &plan);
        if (formation_decode(json, strlen(json), &peer.answer, NULL) < 0) {
            abort();
        }
    }
    IGNORE(formation_end_of(text, why, sizeof(why)), "only whether it survives");
    return 0;
}
