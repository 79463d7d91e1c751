#include "agent/agent.h"

int main(int argc, char **argv)
{
    return argc == 3 ? agent_main(argv[2]) : 2;
}
