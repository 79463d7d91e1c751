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

/* The fence inside the server (ext/baton_fence), as the running server tells it. */
enum fence_state {
    FENCE_UNKNOWN,   /* no server runs, or it has not answered yet */
    FENCE_ABSENT,    /* the module is not loaded */
    FENCE_OFF,       /* loaded, and told not to check */
    FENCE_ENFORCING, /* a commit needs the lease */
    FENCE_MISMATCH,  /* loaded, and reads another page, or one of another version */
};

/* What a server suffers from although its processes live. */
enum trouble {
    TROUBLE_NONE,
    TROUBLE_SILENT,      /* it has answered nothing, not even "no", for too long */
    TROUBLE_DISK_HUNG,   /* a write to its disk does not end */
    TROUBLE_DISK_FAILED, /* its disk refuses writes: an I/O error, or it is read-only */
    TROUBLE_DISK_FULL,
};

/* "silent", "disk hung", ...; "" for none. */
const char *trouble_text(enum trouble trouble);

/* TROUBLE_NONE for a text that is none of them. */
enum trouble trouble_parse(const char *text);

/* "enforcing", ...; "" for unknown. */
const char *fence_state_text(enum fence_state state);

/* FENCE_UNKNOWN for a text that is none of them. */
enum fence_state fence_state_parse(const char *text);

/* "down", "standby", ... */
const char *server_state_text(enum server_state state);
