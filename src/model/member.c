#include "model/member.h"

#include "base/assert.h"
#include "base/str.h"

static const char *const states[] = {
    [STATE_INITDB] = "initializing new cluster",
    [STATE_INITDB_FAILED] = "initdb failed",
    [STATE_CUSTOM_BOOTSTRAP] = "running custom bootstrap script",
    [STATE_CUSTOM_FAILED] = "custom bootstrap failed",
    [STATE_CREATING_REPLICA] = "creating replica",
    [STATE_RUNNING] = "running",
    [STATE_STARTING] = "starting",
    [STATE_BOOTSTRAP_STARTING] = "starting after custom bootstrap",
    [STATE_START_FAILED] = "start failed",
    [STATE_RESTARTING] = "restarting",
    [STATE_RESTART_FAILED] = "restart failed",
    [STATE_STOPPING] = "stopping",
    [STATE_STOPPED] = "stopped",
    [STATE_STOP_FAILED] = "stop failed",
    [STATE_CRASHED] = "crashed",
    [STATE_UNKNOWN] = "unknown",
};

static const char *const roles[] = {
    [ROLE_UNINITIALIZED] = "uninitialized",
    [ROLE_REPLICA] = "replica",
    [ROLE_PRIMARY] = "primary",
    [ROLE_STANDBY_LEADER] = "standby_leader",
    [ROLE_DEMOTED] = "demoted",
    [ROLE_PROMOTED] = "promoted",
};

const char *member_state_text(enum member_state state)
{
    ASSERT((size_t)state < ARRAY_LEN(states));
    return states[state];
}

enum member_state member_state_parse(const char *text)
{
    for (size_t at = 0; at < ARRAY_LEN(states); at++) {
        if (str_equal(text, states[at])) {
            return (enum member_state)at;
        }
    }
    return STATE_UNKNOWN;
}

const char *member_role_text(enum member_role role)
{
    ASSERT((size_t)role < ARRAY_LEN(roles));
    return roles[role];
}

enum member_role member_role_parse(const char *text)
{
    if (str_equal(text, "master")) {
        return ROLE_PRIMARY;
    }
    for (size_t at = 0; at < ARRAY_LEN(roles); at++) {
        if (str_equal(text, roles[at])) {
            return (enum member_role)at;
        }
    }
    return ROLE_UNINITIALIZED;
}
