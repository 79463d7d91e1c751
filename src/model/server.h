/* server.h - what a database server can be doing, and how it can be stopped: words shared by
 * decisions and engines. */
#pragma once

#include "base/base.h"

enum server_state {
    SERVER_UNKNOWN,  /* not looked at yet */
    SERVER_ABSENT,   /* no data directory, or an empty one */
    SERVER_BROKEN,   /* there is one, but it cannot be used; somebody must look at it */
    SERVER_DOWN,     /* not running */
    SERVER_STARTING, /* running, replaying its log, not answering queries yet */
    SERVER_STANDBY,  /* answering queries, in recovery */
    SERVER_PRIMARY,  /* open for writing */
    SERVER_STOPPING, /* asked to stop, still running */
};

enum stop_mode {
    STOP_FAST,      /* disconnect clients, let standbys drain, write a shutdown checkpoint */
    STOP_IMMEDIATE, /* no checkpoint: crash recovery at the next start */
};

/* "down", "standby", ... */
const char *server_state_text(enum server_state state);
