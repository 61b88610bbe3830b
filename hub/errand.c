#include "hub/errand.h"

#include "core/base/memory.h"
#include "hub/hub.h"
#include "hub/shard.h"

enum { ERRAND_RESULT_MAX_BYTES = 1024 * 1024 };

struct errand *errand_new(struct connection *connection)
{
    struct shard *origin = connection->shard;
    unsigned count = origin->hub->shard_count;
    struct errand *errand = memory_calloc(1, sizeof(*errand) + count * sizeof(errand->parts[0]));
    if (errand == NULL) {
        return NULL;
    }
    errand->connection = connection;
    errand->origin = origin;
    errand->part_count = count;
    for (unsigned i = 0; i < count; i++) {
        errand->parts[i].errand = errand;
        errand->parts[i].shard = origin->hub->shards[i];
        buffer_init(&errand->parts[i].result, ERRAND_RESULT_MAX_BYTES);
    }
    connection->id.errand = errand;
    connection_wait(connection);
    return errand;
}

static void errand_free(struct errand *errand)
{
    if (errand->fini != NULL) {
        errand->fini(errand);
    }
    for (unsigned i = 0; i < errand->part_count; i++) {
        buffer_fini(&errand->parts[i].result);
    }
    memory_free(errand);
}

static void errand_finish(struct errand *errand)
{
    struct connection *connection = errand->connection;
    if (connection != NULL) {
        connection->id.errand = NULL;
    }
    errand_free(errand);
    if (connection != NULL && connection->state == CONNECTION_WAITING) {
        connection_resume(connection);
    }
}

/* The parts are back and the client has read what came before: the next step. */
static void errand_step(struct errand *errand)
{
    if (errand->parts_out > 0 || errand->stepping) {
        return;
    }
    if (errand->connection != NULL) {
        if (errand->connection->outbox != NULL) {
            return;
        }
        errand->stepping = true;
        errand->done(errand);
        errand->stepping = false;
    }
    if (errand->parts_out == 0 && (errand->ended || errand->connection == NULL)) {
        errand_finish(errand);
    }
}

static void part_back(struct mail *mail, void *shard_context)
{
    struct errand *errand = container_of(mail, struct errand_part, mail)->errand;
    CHECK(errand->origin == shard_context);
    CHECK(errand->parts_out > 0);
    errand->parts_out--;
    errand_step(errand);
}

static void part_there(struct mail *mail, void *shard_context)
{
    struct errand_part *part = container_of(mail, struct errand_part, mail);
    CHECK(part->shard == shard_context);
    part->errand->work(part);
    mail->deliver = part_back;
    shard_post(part->errand->origin, mail);
}

void errand_go(struct errand *errand)
{
    CHECK(errand->parts_out == 0);
    errand->parts_out = errand->part_count;
    for (unsigned i = 0; i < errand->part_count; i++) {
        struct errand_part *part = &errand->parts[i];
        buffer_fini(&part->result);
        part->number = 0;
        part->flag = false;
        part->mail.deliver = part_there;
        shard_post(part->shard, &part->mail);
    }
}

void errand_end(struct errand *errand)
{
    CHECK(errand->stepping);
    errand->ended = true;
}

void errand_flushed(struct errand *errand)
{
    errand_step(errand);
}

void errand_abandon(struct errand *errand)
{
    errand->connection = NULL;
    errand_step(errand);
}
