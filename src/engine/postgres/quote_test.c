#include "engine/postgres/quote.h"

#include <setjmp.h>

#include <cmocka.h>

#define ROUNDS 20000
#define TEXT_MAX 24

static void expect(
    void (*quote)(struct str *out, const char *text), const char *text, const char *wanted)
{
    AUTO_STR struct str out = STR_INIT(256);

    quote(&out, text);
    assert_string_equal(str_text(&out), wanted);
}

static void each_language_has_its_quotes(void **state)
{
    assert_non_null(state);
    expect(quote_conf, "", "''");
    expect(quote_conf, "it's \\n # x", "'it''s \\\\n # x'");
    expect(quote_identifier, "a\"b'c", "\"a\"\"b'c\"");
    expect(quote_literal, "it's", "'it''s'");
    expect(quote_literal, "a\\'b", "E'a\\\\''b'");
    expect(quote_hba, "all", "\"all\"");
    expect(quote_passfile, "a:b\\c d", "a\\:b\\\\c d");
}

static void control_characters_are_seen(void **state)
{
    assert_non_null(state);
    assert_true(quote_is_clean(""));
    assert_true(quote_is_clean("gr\xc3\xbc\xc3\x9f"));
    assert_false(quote_is_clean(NULL));
    assert_false(quote_is_clean("a\nb"));
    assert_false(quote_is_clean("a\tb"));
    assert_false(quote_is_clean("a\x7f"));
    assert_true(quote_is_line("a\tb"));
    assert_false(quote_is_line("a\rb"));
}

static void parameter_names_are_checked(void **state)
{
    assert_non_null(state);
    assert_true(quote_is_parameter_name("work_mem"));
    assert_true(quote_is_parameter_name("pg_stat_statements.max"));
    assert_false(quote_is_parameter_name(""));
    assert_false(quote_is_parameter_name("1x"));
    assert_false(quote_is_parameter_name("a."));
    assert_false(quote_is_parameter_name(".a"));
    assert_false(quote_is_parameter_name("a = 1 # "));
    assert_false(quote_is_parameter_name("include 'x'"));
    assert_false(quote_is_parameter_name(
        "a123456789012345678901234567890123456789012345678901234567890123"));
}

/* PostgreSQL's reading of a quoted value (guc-file.l, DeescapeQuotedString), for the characters
 * that we let pass. */
static void read_conf(const char *quoted, char *text)
{
    size_t length = strlen(quoted);

    assert_int_equal(quoted[0], '\'');
    assert_int_equal(quoted[length - 1], '\'');
    for (size_t at = 1; at + 1 < length; at++) {
        if (quoted[at] == '\\' || (quoted[at] == '\'' && quoted[at + 1] == '\'')) {
            at++;
        } else {
            assert_true(quoted[at] != '\'');
        }
        assert_true(at + 1 < length);
        *text++ = quoted[at];
    }
    *text = '\0';
}

static void any_value_comes_back(void **state)
{
    static const char signs[] = "'\\\"# =ab$\xc3\xa9{};";
    uint32_t seed = 7;

    assert_non_null(state);
    for (int round = 0; round < ROUNDS; round++) {
        AUTO_STR struct str out = STR_INIT(256);
        char text[TEXT_MAX + 1] = "";
        char back[TEXT_MAX + 1];
        size_t length = (size_t)round % TEXT_MAX;

        for (size_t at = 0; at < length; at++) {
            seed = seed * 1664525u + 1013904223u;
            text[at] = signs[(seed >> 16) % (sizeof(signs) - 1)];
        }
        quote_conf(&out, text);
        read_conf(str_text(&out), back);
        assert_string_equal(back, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_language_has_its_quotes),
        cmocka_unit_test(control_characters_are_seen),
        cmocka_unit_test(parameter_names_are_checked),
        cmocka_unit_test(any_value_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
