#include "core/base/wheel.h"

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct wheel){.tick = now_ms / WHEEL_SLOT_MS};
    list_init(&wheel->due);
    for (unsigned i = 0; i < WHEEL_SLOT_COUNT; i++) {
        list_init(&wheel->slots[i]);
    }
}

/* The first tick that begins at or after the deadline, so that nothing comes early. */
static uint64_t wheel_tick_of(uint64_t deadline_ms)
{
    return deadline_ms / WHEEL_SLOT_MS + (deadline_ms % WHEEL_SLOT_MS != 0);
}

static void wheel_place(struct wheel *wheel, struct wheel_node *node)
{
    uint64_t tick = wheel_tick_of(node->deadline_ms);
    if (tick <= wheel->tick) {
        list_append(&wheel->due, &node->link);
    } else {
        list_append(&wheel->slots[tick % WHEEL_SLOT_COUNT], &node->link);
    }
}

void wheel_set(struct wheel *wheel, struct wheel_node *node, uint64_t deadline_ms)
{
    wheel_remove(wheel, node);
    node->deadline_ms = deadline_ms;
    wheel->count++;
    wheel_place(wheel, node);
}

void wheel_remove(struct wheel *wheel, struct wheel_node *node)
{
    if (list_is_linked(&node->link)) {
        list_remove(&node->link);
        CHECK(wheel->count > 0);
        wheel->count--;
    }
}

static void wheel_advance(struct wheel *wheel, uint64_t now_tick)
{
    if (now_tick > wheel->tick + WHEEL_SLOT_COUNT) {
        /* More than a round has passed: each slot needs to be looked at only once. */
        wheel->tick = now_tick - WHEEL_SLOT_COUNT;
    }
    while (wheel->tick < now_tick) {
        wheel->tick++;
        list_splice(&wheel->due, &wheel->slots[wheel->tick % WHEEL_SLOT_COUNT]);
    }
}

struct wheel_node *wheel_take(struct wheel *wheel, uint64_t now_ms)
{
    wheel_advance(wheel, now_ms / WHEEL_SLOT_MS);
    struct list *link;
    while ((link = list_take(&wheel->due)) != NULL) {
        struct wheel_node *node = container_of(link, struct wheel_node, link);
        if (wheel_tick_of(node->deadline_ms) <= wheel->tick) {
            wheel->count--;
            return node;
        }
        wheel_place(wheel, node);
    }
    return NULL;
}

uint64_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms)
{
    if (wheel->count == 0) {
        return UINT64_MAX;
    }
    if (!list_is_empty(&wheel->due)) {
        return 0;
    }
    for (uint64_t i = 1; i <= WHEEL_SLOT_COUNT; i++) {
        uint64_t tick = wheel->tick + i;
        if (!list_is_empty(&wheel->slots[tick % WHEEL_SLOT_COUNT])) {
            uint64_t begins_ms = tick * WHEEL_SLOT_MS;
            return begins_ms > now_ms ? begins_ms - now_ms : 0;
        }
    }
    return WHEEL_SLOT_MS;
}
