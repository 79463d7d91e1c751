#include "codec/tail.h"

#include "base/mem.h"

#include <setjmp.h>

#include <cmocka.h>

static const struct tail_ask ask = {7215556788123456789u, 5, 67108864, 67108964};
#define LENGTH ((size_t)100)

static struct tail_key key_of(const char *password)
{
    struct tail_key key;

    tail_key_make(password, "main", &key);
    return key;
}

static void no_password_no_key(void **state)
{
    struct tail_key key = key_of("");

    (void)state;
    assert_false(key.is_set);
    assert_int_equal(tail_ask_check(&ask, "", &key, NULL), ERR_DENIED);
}

static void a_question_survives(void **state)
{
    struct str text AUTO_STR = STR_INIT(512);
    struct tail_key key = key_of("secret");
    struct tail_key other = key_of("other");
    struct tail_ask changed = ask;
    const char *mac;

    (void)state;
    tail_ask_format(&ask, &key, &text);
    assert_non_null(strstr(
        str_text(&text),
        "/baton/wal?system=7215556788123456789&timeline=5&from=67108864&to=67108964&mac="));
    mac = strstr(str_text(&text), "mac=") + 4;
    assert_int_equal(tail_ask_check(&ask, mac, &key, NULL), 0);
    assert_int_equal(tail_ask_check(&ask, mac, &other, NULL), ERR_DENIED);
    assert_int_equal(tail_ask_check(&ask, NULL, &key, NULL), ERR_DENIED);
    assert_int_equal(tail_ask_check(&ask, "abc", &key, NULL), ERR_DENIED);
    changed.to++;
    assert_int_equal(tail_ask_check(&changed, mac, &key, NULL), ERR_DENIED);
    changed = ask;
    changed.timeline++;
    assert_int_equal(tail_ask_check(&changed, mac, &key, NULL), ERR_DENIED);
    changed = ask;
    changed.system_id++;
    assert_int_equal(tail_ask_check(&changed, mac, &key, NULL), ERR_DENIED);
}

static void only_what_agents_ask(void **state)
{
    static const struct {
        struct tail_texts texts;
        int result;
    } rows[] = {
        {{"1", "1", "8192", "16384"}, 0},
        {{"1", "1", "0", "4194304"}, 0},
        {{"1", "1", "0", "4194305"}, ERR_INVALID},
        {{"1", "1", "8192", "8192"}, ERR_INVALID},
        {{"1", "1", "8193", "8192"}, ERR_INVALID},
        {{"1", "0", "8192", "16384"}, ERR_INVALID},
        {{"1", "4294967296", "8192", "16384"}, ERR_INVALID},
        {{"1", "1", "18446744073709551000", "18446744073709551615"}, ERR_INVALID},
        {{"1", "1", "-1", "16384"}, ERR_INVALID},
        {{NULL, "1", "8192", "16384"}, ERR_INVALID},
        {{"1", "1", "8192", NULL}, ERR_INVALID},
        {{"", "1", "8192", "16384"}, ERR_INVALID},
    };

    (void)state;
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        struct tail_ask ret = {0};

        assert_int_equal(tail_ask_read(&rows[row].texts, &ret, NULL), rows[row].result);
    }
}

static void an_answer_survives(void **state)
{
    struct tail_key key = key_of("secret");
    struct tail_key other = key_of("other");
    struct tail_ask changed = ask;
    unsigned char nonce[TAIL_NONCE_SIZE] = {1, 2, 3};
    unsigned char bytes[LENGTH];
    unsigned char sealed[LENGTH + TAIL_SEAL_SIZE];
    unsigned char opened[LENGTH];

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(tail_seal(&ask, &key, nonce, bytes, sealed, NULL), 0);
    assert_null(memmem(sealed, sizeof(sealed), "xxxx", 4));
    assert_int_equal(tail_open(&ask, &key, sealed, sizeof(sealed), opened, NULL), 0);
    assert_memory_equal(bytes, opened, sizeof(bytes));
    assert_int_equal(tail_open(&ask, &key, sealed, sizeof(sealed) - 1, opened, NULL), ERR_DENIED);
    assert_int_equal(tail_open(&ask, &other, sealed, sizeof(sealed), opened, NULL), ERR_DENIED);
    changed.from += 8192;
    changed.to += 8192;
    assert_int_equal(tail_open(&changed, &key, sealed, sizeof(sealed), opened, NULL), ERR_DENIED);
    for (size_t at = 0; at < sizeof(sealed); at += 9) {
        sealed[at] ^= 1;
        assert_int_equal(tail_open(&ask, &key, sealed, sizeof(sealed), opened, NULL), ERR_DENIED);
        sealed[at] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_password_no_key),
        cmocka_unit_test(a_question_survives),
        cmocka_unit_test(only_what_agents_ask),
        cmocka_unit_test(an_answer_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
