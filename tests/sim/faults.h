/* faults.h - between the table of faults (faults.c) and those that lie or stop time (harsh.c).
 * Private to them. */
#pragma once

#include "tests/sim/sim.h"

/* FAULT begins, or ends (is_over); NODE is whom it meets. */
typedef void fault_fn(struct sim *sim, struct fault *fault, struct node *node);

/* Whether one more of NODE's clocks may go wrong now: never two in different ways within one lease,
 * which is not promised. */
bool fault_upset(struct sim *sim, struct node *node, enum upset by);

fault_fn harsh_slow_link;
fault_fn harsh_lossy_link;
fault_fn harsh_pause;
fault_fn harsh_step;
fault_fn harsh_lose_tail;
fault_fn harsh_stale_store;
fault_fn harsh_deny;
fault_fn harsh_false_session;
fault_fn harsh_hang_server;
fault_fn harsh_hang_disk;
fault_fn harsh_fail_disk;
fault_fn harsh_fill_disk;
fault_fn harsh_fail_watchdog;
fault_fn harsh_failsafe;
