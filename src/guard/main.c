#include "guard/guard.h"

int main(int argc, char **argv)
{
    const char *why = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: baton-guard SOCKET_PATH\n");
        return 2;
    }
    why = guard_serve(argv[1]);
    if (why != NULL) {
        fprintf(stderr, "baton-guard: %s: %s\n", argv[1], why);
    }
    return why != NULL;
}
