#include "bench/micro/micro.h"

enum { MICRO_COUNT_MAX = 64 };

const struct micro *micro_all(void)
{
    static struct micro all[MICRO_COUNT_MAX];
    const struct micro *const lists[] = {micro_frame,   micro_queue,     micro_sequencer,
                                         micro_fanout,  micro_http_head, micro_json,
                                         micro_channel, micro_shards};
    size_t count = 0;
    for (size_t i = 0; i < countof(lists); i++) {
        for (const struct micro *micro = lists[i]; micro->name != NULL; micro++) {
            CHECK(count < MICRO_COUNT_MAX - 1);
            all[count++] = *micro;
        }
    }
    all[count].name = NULL;
    return all;
}
