/*
 * Peer addresses: their text, whether they are this machine, and how many connections each holds.
 *
 * An address is 16 bytes: IPv6, or IPv4 mapped into it (RFC 4291, 2.5.5.2); all zero for a Unix
 * socket. Limits count an IPv6 peer by its /64, because that is what one subscriber of a network
 * gets.
 *
 * Threads: the table has its own lock; connections come and go on every shard.
 */
#ifndef SPATE_HUB_ADDRESS_H
#define SPATE_HUB_ADDRESS_H

#include <pthread.h>
#include <sys/socket.h>

#include "core/base/hash.h"
#include "core/base/table.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ADDRESS_TEXT_MAX = 48 };

struct address {
    uint8_t bytes[16];
};

void address_from(struct address *address, const struct sockaddr_storage *from);
/* Loopback, or a Unix socket. */
bool address_is_local(const struct address *address);
/* Returns the length. "unix" for a Unix socket. */
size_t address_write(const struct address *address, char text[ADDRESS_TEXT_MAX]);

struct address_table {
    pthread_mutex_t mutex;
    struct hash_key key;
    struct table table;
};

int address_table_init(struct address_table *table, const struct hash_key *key, uint64_t count_max);
void address_table_fini(struct address_table *table);

/* Counts one connection in. False if the address already holds `limit`; then it is not counted. */
bool address_table_enter(struct address_table *table, const struct address *address,
                         uint32_t limit);
void address_table_leave(struct address_table *table, const struct address *address);

#ifdef __cplusplus
}
#endif

#endif
