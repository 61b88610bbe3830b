#include "hub/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/base/memory.h"

struct address_count {
    struct table_node node;
    struct address network;
    uint32_t connections;
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void address_from(struct address *address, const struct sockaddr_storage *from)
{
    *address = (struct address){{0}};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        memcpy(address->bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(address->bytes + 12, &in->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        memcpy(address->bytes, &in->sin6_addr, 16);
    }
}

static bool address_is_mapped(const struct address *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool address_is_unix(const struct address *address)
{
    static const struct address none;
    return memcmp(address, &none, sizeof(none)) == 0;
}

bool address_is_local(const struct address *address)
{
    static const uint8_t loopback[16] = {[15] = 1};
    if (address_is_mapped(address)) {
        return address->bytes[12] == 127;
    }
    return address_is_unix(address) || memcmp(address->bytes, loopback, 16) == 0;
}

size_t address_write(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    const char *written;
    if (address_is_unix(address)) {
        memcpy(text, "unix", 5);
        return 4;
    }
    if (address_is_mapped(address)) {
        written = inet_ntop(AF_INET, address->bytes + 12, text, ADDRESS_TEXT_MAX);
    } else {
        written = inet_ntop(AF_INET6, address->bytes, text, ADDRESS_TEXT_MAX);
    }
    CHECK(written != NULL);
    return strlen(text);
}

static struct address address_network(const struct address *address)
{
    struct address network = *address;
    if (!address_is_mapped(address)) {
        memset(network.bytes + 8, 0, 8);
    }
    return network;
}

int address_table_init(struct address_table *table, const struct hash_key *key, uint64_t count_max)
{
    table->key = *key;
    CHECK(pthread_mutex_init(&table->mutex, NULL) == 0);
    return table_init(&table->table, count_max);
}

void address_table_fini(struct address_table *table)
{
    table_fini(&table->table);
    CHECK(pthread_mutex_destroy(&table->mutex) == 0);
}

static struct address_count *address_find(struct address_table *table,
                                          const struct address *network, uint64_t hash)
{
    struct table_node *node = table_find(&table->table, hash);
    for (; node != NULL; node = table_find_next(node)) {
        struct address_count *entry = container_of(node, struct address_count, node);
        if (memcmp(&entry->network, network, sizeof(*network)) == 0) {
            return entry;
        }
    }
    return NULL;
}

bool address_table_enter(struct address_table *table, const struct address *address, uint32_t limit)
{
    struct address network = address_network(address);
    uint64_t hash = hash_bytes(&table->key, &network, sizeof(network));
    bool entered = false;
    CHECK(pthread_mutex_lock(&table->mutex) == 0);
    struct address_count *entry = address_find(table, &network, hash);
    if (entry == NULL) {
        entry = memory_calloc(1, sizeof(*entry));
        if (entry != NULL) {
            entry->network = network;
            table_add(&table->table, &entry->node, hash);
        }
    }
    if (entry != NULL && entry->connections < limit) {
        entry->connections++;
        entered = true;
    }
    CHECK(pthread_mutex_unlock(&table->mutex) == 0);
    return entered;
}

void address_table_leave(struct address_table *table, const struct address *address)
{
    struct address network = address_network(address);
    uint64_t hash = hash_bytes(&table->key, &network, sizeof(network));
    CHECK(pthread_mutex_lock(&table->mutex) == 0);
    struct address_count *entry = address_find(table, &network, hash);
    CHECK(entry != NULL);
    CHECK(entry->connections > 0);
    entry->connections--;
    if (entry->connections == 0) {
        table_remove(&table->table, &entry->node);
        memory_free(entry);
    }
    CHECK(pthread_mutex_unlock(&table->mutex) == 0);
}
