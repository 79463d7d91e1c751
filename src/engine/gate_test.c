#include "engine/gate.h"

#include "base/str.h"

#include <setjmp.h>

#include <cmocka.h>

static void test_script(void **state)
{
    static const char *const exempt[] = {"192.0.2.0/24", "2001:db8::7", NULL};
    const struct gate_options options = {.table = "baton", .port = 5433, .exempt = exempt};
    struct str text AUTO_STR = STR_INIT(4096);
    struct str none AUTO_STR = STR_INIT(4096);

    (void)state;
    gate_script(&options, 1234, &text);
    assert_string_equal(
        str_text(&text),
        "table inet baton\ndelete table inet baton\n"
        "table inet baton {\n"
        "set open { type inet_service; flags timeout; elements = { 5433 timeout 1234ms } }\n"
        "chain output { type filter hook output priority 0; policy accept;\n"
        "oif lo accept\n"
        "ip daddr 192.0.2.0/24 accept\n"
        "ip6 daddr 2001:db8::7 accept\n"
        "tcp sport 5433 tcp sport != @open drop\n}\n}\n");
    gate_script(&options, 0, &none);
    assert_string_equal(str_text(&none), "table inet baton\ndelete table inet baton\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_script)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
