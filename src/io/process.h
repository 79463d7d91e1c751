/* process.h - this process and its user, and small services of the kernel. */
#pragma once

#include "base/err.h"

/* User id, user name ("" if it has none), host name, own program's path, process id. */
unsigned process_user(void);
void process_user_name(char *buffer, size_t size);
void process_host_name(char *buffer, size_t size);
MUST_CHECK int process_program(char *buffer, size_t size, struct err *e);
int process_id(void);

/* The value of an environment variable, or NULL; all variables, ending with NULL. */
const char *process_env(const char *name);
const char *const *process_environment(void);

/* SIZE random bytes of the kernel; a random password of LENGTH letters and digits (buffer LENGTH
 * + 1). */
void process_random(void *bytes, size_t size);
void process_password(char *buffer, size_t length);

/* No core dumps, not traceable by other users (PR_SET_DUMPABLE 0), SIGPIPE ignored: the memory
 * holds passwords. */
void process_harden(void);

/* Ask process PID to end (SIGTERM), also one that was stopped; end its sleep (SIGHUP, which it must
 * handle). It must have been seen to be the right one just now. */
void process_end(int pid);
void process_wake(int pid);

/* Where process (or thread) PID works, as seen from FOLDER. */
enum process_place {
    PROCESS_NOWHERE, /* there is none, or it is dead and waits to be reaped */
    PROCESS_INSIDE,
    PROCESS_ELSEWHERE,
    PROCESS_CLOSED, /* this user may not see where */
};
enum process_place process_place(int pid, const char *folder);

/* Whether any process works in FOLDER. Those that this user may not look at are no hit. */
MUST_CHECK int process_find_in(const char *folder, bool *ret, struct err *e);

/* Whether a signal of this process would reach PID: it lives (or is a zombie), and may be sent
 * one. */
bool process_is_reached(int pid);

/* Kill (SIGKILL) every process of this user that is called NAME and works in FOLDER; how many there
 * were. For what a server leaves that died together with who would have ended it. */
unsigned process_kill_in(const char *folder, const char *name);

/* Start PROGRAM in a new session, detached from this process, with a clean environment, standard
 * streams on /dev/null except standard error to LOG_PATH (appended, 0600; may be NULL),
 * descriptors above 2 closed but KEEP_FD (>= 0), which it gets as descriptor 3. argv ends with
 * NULL. */
MUST_CHECK int process_detach(
    const char *const *argv, const char *log_path, int keep_fd, struct err *e);

/* Resident memory of this process in bytes; 0 if unknown. */
int64_t process_memory_bytes(void);

/* sd_notify: send STATE ("READY=1") if a service manager listens; otherwise nothing. */
void process_notify(const char *state);
