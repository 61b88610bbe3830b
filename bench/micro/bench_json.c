/* Whether what a publisher calls JSON is JSON. */
#include "bench/micro/micro.h"
#include "proto/json.h"

static const char text[] =
    "{\"home\":1,\"away\":2,\"minute\":57,\"players\":[\"one\",\"two\",\"three\"],"
    "\"text\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

static void run(void *world, uint64_t count)
{
    (void)world;
    for (uint64_t i = 0; i < count; i++) {
        struct span span = {text, sizeof(text) - 1};
        micro_keep(&span);
        CHECK(json_is_surely_valid(span));
    }
}

const struct micro micro_json[] = {
    {.name = "json/145_bytes", .run = run, .batch = 100},
    {.name = NULL},
};
