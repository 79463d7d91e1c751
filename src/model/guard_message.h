/* guard_message.h - the messages between an agent and the guard: fixed structs over SOCK_SEQPACKET,
 * same host, same user.
 *
 * Every message opens with a header (magic, version, kind, size); one with another size, version or
 * user is refused and the connection closed. There is no text to parse: argument vectors are
 * NUL-separated bytes with counts. The layout is the contract between an agent and a guard of
 * different releases: fields are added at the end only, under a new kind, or take the place of
 * reserved bytes, which are 0 from whoever does not know them. A guard closes the connection at a
 * kind that it does not know: what came later than `means` is sent only to one that has that. */
#pragma once

#include "model/instant.h"

#define GUARD_MAGIC 0x64726774u
#define GUARD_VERSION 1u
#define GUARD_TEXT_MAX 16384

enum guard_kind {
    GUARD_START = 1,  /* struct guard_start: agent -> guard */
    GUARD_SIGNAL = 2, /* struct guard_order: value = signal for the first process */
    GUARD_ARM = 3,    /* struct guard_order: deadline */
    GUARD_KILL = 4,   /* struct guard_order: kill the whole tree now */
    GUARD_RETIRE = 5, /* struct guard_order: exit if nothing is supervised */
    GUARD_ASK = 6,    /* struct guard_order: send the state */
    GUARD_DISARM = 7, /* struct guard_order: drop the deadline of a server that was never opened */
    GUARD_WATCH = 8,  /* struct guard_watch: the kernel watchdog to use */
    GUARD_STATE = 16, /* struct guard_state: guard -> agent, after each change and each message */
};

struct guard_header {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint32_t size; /* of the whole message in bytes */
    uint32_t reserved;
};

struct guard_order {
    struct guard_header header;
    struct instant deadline;
    int32_t value;
    int32_t reserved;
};

/* Start one process. `text` holds argc arguments, then envc variables, then the working folder,
 * then the file that standard output and error are appended to ("" for the guard's own), each ended
 * by NUL. */
struct guard_start {
    struct guard_header header;
    uint16_t argc;
    uint16_t envc;
    uint32_t text_length;
    char text[GUARD_TEXT_MAX];
};

/* Where the argument vector, the environment, folder and output of START begin: argv, NULL, env,
 * NULL, folder, output. Returns 0, E2BIG or EINVAL: not what was announced. */
#define GUARD_TEXTS_MAX 1024
int guard_start_split(struct guard_start *start, char *texts[GUARD_TEXTS_MAX + 4]);

/* The kernel watchdog (io/watchdog.h). timeout_s 0: it cannot be used with these times. */
#define GUARD_PATH_MAX 256
struct guard_watch {
    struct guard_header header;
    int64_t left_ms;           /* pet it only while so much of the deadline is left */
    uint32_t timeout_s;        /* 0: it cannot be used with this lease */
    uint32_t is_testing;       /* no device of the kernel: a FIFO or file */
    char path[GUARD_PATH_MAX]; /* "": none */
};

/* How the whole tree is killed. In a group of its own it is killed as descendants as well. */
enum guard_means {
    GUARD_MEANS_UNKNOWN, /* a guard of an earlier release */
    GUARD_MEANS_DESCENDANTS,
    GUARD_MEANS_CGROUP,
};

/* What the guard was granted, bits. */
enum guard_power {
    GUARD_POWER_MEMORY = 1,    /* its memory is locked */
    GUARD_POWER_REAL_TIME = 2, /* SCHED_FIFO */
    GUARD_POWER_NICE = 4,      /* if not that: nice -20 */
    GUARD_POWER_OOM = 8,       /* never killed for want of memory */
};

enum guard_watchdog {
    GUARD_WATCHDOG_OFF,
    GUARD_WATCHDOG_READY,   /* it may be opened */
    GUARD_WATCHDOG_RUNNING, /* the host is reset unless it is petted */
    GUARD_WATCHDOG_FAILED,
};

/* From a start until the whole tree is gone, `pid` is set and the deadline holds; then both are
 * cleared, and the exit fields are those of the process that ended, until the next start.
 * `start_errno` is of the last start that failed, 0 after one that did not: EBUSY (something runs,
 * or the guard is about to end), EINVAL or E2BIG (a wrong message), or what kept the new process
 * from running its program; exit_code is 127 then. */
struct guard_state {
    struct guard_header header;
    struct instant deadline; /* {0,0}: not armed */
    int64_t guard_pid;
    int64_t pid;     /* of the first process, even if only others of its tree live; 0: nothing */
    uint64_t starts; /* processes started so far: a restart that nobody saw shows */
    int64_t started_real_ms;
    int32_t exit_code;   /* of the last one that ended; -1 none or killed */
    int32_t exit_signal; /* 0: none */
    int32_t start_errno;
    uint8_t was_fenced; /* killed at the deadline; while pid is set: being killed */
    uint8_t was_killed; /* the same by GUARD_KILL */
    uint8_t is_ending;  /* the first process is gone, others of its tree are not yet */
    uint8_t means;      /* enum guard_means */
    uint8_t powers;     /* enum guard_power */
    uint8_t is_open;    /* SIGUSR1 was sent to the process: it may be writable */
    uint8_t watchdog;   /* enum guard_watchdog */
    uint8_t watchdog_errno;
    uint8_t reserved[4]; /* no padding: two states can be compared as bytes */
};
