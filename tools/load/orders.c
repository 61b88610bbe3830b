#include "tools/load/worker.h"

static void cut(struct worker *worker, struct subscriber *subscriber, uint64_t now_ns)
{
    CHECK(subscriber->state == SUBSCRIBER_OPEN);
    score_add(&worker->score->open, UINT64_MAX);
    score_add(&worker->score->storm_cuts, 1);
    subscriber->state = SUBSCRIBER_CLOSING;
    subscriber->is_stormed = true;
    subscriber->cut_ns = now_ns;
    io_close(worker->io, &subscriber->stream);
}

static void order_storm(struct worker *worker, uint64_t now_ns)
{
    const uint64_t bound = (uint64_t)(worker->options->storm_percent * 10000);
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->state == SUBSCRIBER_OPEN &&
            random_below(&worker->random, 1000000) < bound) {
            cut(worker, subscriber, now_ns);
        }
    }
}

/* This worker's share of `total`, by its share of the subscribers; any of those that are open. */
static void order_cut(struct worker *worker, uint64_t total, uint64_t now_ns)
{
    const uint64_t all = worker->options->subscriber_count;
    const uint64_t end = (uint64_t)worker->first + worker->count;
    uint64_t wanted = total * end / all - total * worker->first / all;
    uint64_t left = 0;
    for (uint32_t i = 0; i < worker->count; i++) {
        left += worker->subscribers[i].state == SUBSCRIBER_OPEN;
    }
    worker->keeps_away = true;
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->state == SUBSCRIBER_OPEN &&
            random_below(&worker->random, left--) < wanted) {
            wanted--;
            cut(worker, subscriber, now_ns);
        }
    }
}

static void order_return(struct worker *worker, uint64_t now_ns)
{
    struct list *link;
    worker->keeps_away = false;
    while ((link = list_take(&worker->away)) != NULL) {
        container_of(link, struct subscriber, queue_link)->cut_ns = now_ns;
        list_append(&worker->connect_queue, link);
    }
}

static void order_vanish(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->count; i++) {
        struct subscriber *subscriber = &worker->subscribers[i];
        if (subscriber->is_vanishing && subscriber->state == SUBSCRIBER_OPEN) {
            wheel_remove(&worker->wheel, &subscriber->timer);
            subscriber->state = SUBSCRIBER_VANISHED;
            score_add(&worker->score->open, UINT64_MAX);
            score_add(&worker->score->vanished, 1);
        }
    }
}

void worker_serve_orders(struct worker *worker)
{
    const struct scoreboard *board = worker->board;
    /* Acquire: pairs with scoreboard_give_order; what is to be done was set before. */
    const uint64_t number = __atomic_load_n(&board->order_number, __ATOMIC_ACQUIRE);
    if (number == worker->orders_seen) {
        return;
    }
    const uint64_t now_ns = load_now_ns();
    worker->orders_seen = number;
    switch ((enum load_order)board->order) {
    case LOAD_ORDER_STORM:
        order_storm(worker, now_ns);
        break;
    case LOAD_ORDER_CUT:
        order_cut(worker, board->order_count, now_ns);
        break;
    case LOAD_ORDER_RETURN:
        order_return(worker, now_ns);
        break;
    case LOAD_ORDER_VANISH:
        order_vanish(worker);
        break;
    }
    worker->in_flight_since_ns = now_ns;
    /* Release: pairs with scoreboard_order_is_done. */
    __atomic_store_n(&worker->score->orders_done, number, __ATOMIC_RELEASE);
}
