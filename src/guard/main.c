#include "guard/guard.h"

int main(int argc, char **argv)
{
    int r = argc == 2 ? guard_serve(argv[1]) : EINVAL;

    if (r != 0) {
        fprintf(
            stderr, "usage: baton-guard SOCKET_PATH\n%s: %s\n", argv[argc - 1],
            r == EWOULDBLOCK ? "another guard serves it" : strerror(r));
    }
    return r != 0;
}
