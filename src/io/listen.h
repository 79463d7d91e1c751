/* listen.h - a listening socket, and what a server must do to one.
 *
 * libmicrohttpd would open it by itself, but then "address in use" and "not an address of this
 * host" look the same, and what an operator needs first is which of the two it is.
 */
#pragma once

#include "base/err.h"

/* Listen on HOST ("", "*": every address, IPv4 and IPv6) and PORT (0: any free one). A name is
 * looked up, blocking: this is start-up. ERR_CONFIG or ERR_IO with a hint. */
MUST_CHECK int listen_open(const char *host, int port, int *ret_fd, struct err *e);

/* The port that FD is bound to. */
int listen_port(int fd);

/* Make the other side, and the library that owns FD, see the end of the connection. FD stays open.
 * */
void listen_hang_up(int fd);
