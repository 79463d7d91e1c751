/* bed_test.h - what the tests of the guard share: a guard of their own in a new folder, a raw
 * client, and a tree of processes that does its best to survive.
 *
 * The tree is the test program itself, run by the guard as `TEST --MODE FOLDER/pids`: every process
 * of it can be found in /proc by that path. Modes:
 *   tree      a process and all kinds of descendants; deaf to SIGTERM, SIGINT, SIGHUP, SIGQUIT
 *   leave     the same, but the first one ends with status 5
 *   grow      never stops forking, each new process in a session of its own
 *   obey      one process that writes "quit" or "int" into FOLDER/signal and ends with status 7 */
#pragma once

#include "base/err.h"
#include "model/model.h"

#define PATIENCE_MS 15000
#define TREE_SIZE 11

struct bed {
    char folder[64];
    char socket_path[96];
    char pids_path[96];
    char output_path[96];
    pid_t guard; /* 0: none */
    int fd;      /* a connection; -1: none */
    struct guard_state state;
};

/* The program under test and this test program; bed_main sets them. */
extern char bed_guard_program[PATH_MAX];
extern char bed_own_program[PATH_MAX];

/* Run a mode of the tree and do not return, or set the above. */
void bed_main(int argc, char **argv);

/* A new folder, with a guard and a connection to it, or without. */
void bed_open(struct bed *bed);
void bed_open_without_guard(struct bed *bed);
void bed_close(struct bed *bed);

/* Start a guard for the folder and connect to it. */
void bed_start_guard(struct bed *bed);

/* Wait until the guard has ended; its exit status, or -signal. */
int bed_wait_for_guard(struct bed *bed);

/* Connect, with patience; -1 if that does not succeed. */
int bed_connect(const struct bed *bed);

/* Raw messages over a connection. */
void bed_order(int fd, unsigned kind, int value, struct instant deadline);
void bed_start(const struct bed *bed, int fd, const char *mode);
void bed_start_argv(int fd, const char *const *argv, const char *folder, const char *output);

/* The next state, or false: the connection is closed (*state untouched) or PATIENCE is over. */
bool bed_receive(int fd, int64_t patience_ms, struct guard_state *state);

/* Receive states until CONDITION(state) holds; fail when it does not come true. */
void bed_wait(struct bed *bed, bool (*condition)(const struct guard_state *state));
bool bed_is_running(const struct guard_state *state);
bool bed_is_gone(const struct guard_state *state);

/* Wait until the tree has COUNT processes; the number of them alive now. */
void bed_wait_for_tree(const struct bed *bed, int count);
int bed_count(const struct bed *bed);
/* Wait until a process of mode "obey" has its signal handlers. */
void bed_wait_for_obedience(const struct bed *bed);

/* Sleep; the moment MS from now. */
void bed_pause(int64_t ms);
struct instant bed_in(int64_t ms);
