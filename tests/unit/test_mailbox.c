/* The mailbox alone, and with four posters and one consumer that sleeps behind a doorbell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/doorbell.h"
#include "core/mailbox.h"

enum { POSTER_COUNT = 4, MAIL_COUNT = 200000, WAKE_DEADLINE_MS = 60000 };

struct letter {
    struct mail mail;
    uint32_t poster;
    uint32_t number;
};

struct reader {
    struct mailbox mailbox;
    struct doorbell doorbell;
    int eventfd;
    uint32_t next_number[POSTER_COUNT];
    uint64_t taken;
    bool out_of_order;
};

static void reader_init(struct reader *reader)
{
    memset(reader, 0, sizeof(*reader));
    mailbox_init(&reader->mailbox);
    doorbell_init(&reader->doorbell);
    reader->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(reader->eventfd >= 0);
}

static void letter_deliver(struct mail *mail, void *shard_context)
{
    struct letter *letter = container_of(mail, struct letter, mail);
    struct reader *reader = (struct reader *)shard_context;
    if (letter->number != reader->next_number[letter->poster]) {
        reader->out_of_order = true;
    }
    reader->next_number[letter->poster] = letter->number + 1;
    reader->taken++;
    memory_free(letter);
}

static void letter_post(struct reader *reader, uint32_t poster, uint32_t number)
{
    struct letter *letter = (struct letter *)memory_alloc(sizeof(*letter));
    CHECK(letter != NULL);
    letter->mail.deliver = letter_deliver;
    letter->poster = poster;
    letter->number = number;
    mailbox_post(&reader->mailbox, &letter->mail);
}

static void test_empty_gives_nothing(void **state)
{
    (void)state;
    struct reader reader;
    reader_init(&reader);
    assert_true(mailbox_is_empty(&reader.mailbox));
    assert_null(mailbox_take_all(&reader.mailbox));
    assert_int_equal(mailbox_deliver_all(&reader.mailbox, &reader), 0);
    mailbox_fini(&reader.mailbox);
    close(reader.eventfd);
}

static void test_mail_comes_in_the_order_of_posting(void **state)
{
    (void)state;
    struct reader reader;
    reader_init(&reader);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5; i++) {
            letter_post(&reader, 0, round * 5 + i);
        }
        assert_false(mailbox_is_empty(&reader.mailbox));
        assert_int_equal(mailbox_deliver_all(&reader.mailbox, &reader), 5);
        assert_true(mailbox_is_empty(&reader.mailbox));
    }
    assert_int_equal(reader.taken, 15);
    assert_false(reader.out_of_order);
    mailbox_fini(&reader.mailbox);
    close(reader.eventfd);
}

/* A mail may post itself again while it is delivered: to the next take, not into the present list.
 */
struct echo {
    struct mail mail;
    struct mailbox *mailbox;
    uint32_t delivered;
};

static void echo_deliver(struct mail *mail, void *shard_context)
{
    struct echo *echo = container_of(mail, struct echo, mail);
    (void)shard_context;
    echo->delivered++;
    mailbox_post(echo->mailbox, mail);
}

static void test_a_mail_may_post_itself_again(void **state)
{
    (void)state;
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    struct echo echo = {.mail = {.deliver = echo_deliver}, .mailbox = &mailbox};
    mailbox_post(&mailbox, &echo.mail);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_int_equal(mailbox_deliver_all(&mailbox, NULL), 1);
        assert_int_equal(echo.delivered, i);
    }
    assert_ptr_equal(mailbox_take_all(&mailbox), &echo.mail);
    mailbox_fini(&mailbox);
}

struct poster {
    struct reader *reader;
    uint32_t index;
};

static void *poster_run(void *argument)
{
    struct poster *poster = (struct poster *)argument;
    uint64_t one = 1;
    for (uint32_t i = 0; i < MAIL_COUNT; i++) {
        letter_post(poster->reader, poster->index, i);
        if (doorbell_ring(&poster->reader->doorbell)) {
            CHECK(write(poster->reader->eventfd, &one, sizeof(one)) == (ssize_t)sizeof(one));
        }
    }
    return NULL;
}

static void reader_sleep(struct reader *reader)
{
    struct pollfd pollfd = {.fd = reader->eventfd, .events = POLLIN};
    uint64_t count;
    doorbell_arm(&reader->doorbell);
    if (mailbox_is_empty(&reader->mailbox)) {
        assert_int_equal(poll(&pollfd, 1, WAKE_DEADLINE_MS), 1);
        assert_int_equal(read(reader->eventfd, &count, sizeof(count)), sizeof(count));
    }
    doorbell_disarm(&reader->doorbell);
}

static void test_four_posters(void **state)
{
    (void)state;
    struct reader reader;
    struct poster posters[POSTER_COUNT];
    pthread_t threads[POSTER_COUNT];
    reader_init(&reader);
    for (uint32_t i = 0; i < POSTER_COUNT; i++) {
        posters[i] = (struct poster){.reader = &reader, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, poster_run, &posters[i]), 0);
    }
    while (reader.taken < (uint64_t)POSTER_COUNT * MAIL_COUNT) {
        if (mailbox_deliver_all(&reader.mailbox, &reader) == 0) {
            reader_sleep(&reader);
        }
    }
    for (uint32_t i = 0; i < POSTER_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(reader.next_number[i], MAIL_COUNT);
    }
    assert_false(reader.out_of_order);
    mailbox_fini(&reader.mailbox);
    close(reader.eventfd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_gives_nothing),
        cmocka_unit_test(test_mail_comes_in_the_order_of_posting),
        cmocka_unit_test(test_a_mail_may_post_itself_again),
        cmocka_unit_test(test_four_posters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
