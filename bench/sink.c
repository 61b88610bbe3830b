/*
 * Subscribers that nobody has to run: makes connections to a hub through a network device of its
 * own and subscribes; what the hub then sends is acknowledged by bench/sink.bpf.c in the kernel,
 * and thrown away.
 *
 *   bench_sink DEVICE     makes the device (tun); then obeys lines on standard input:
 *     connect COUNT ADDRESS PORT PATH   opens COUNT connections, from 10.99.1.1 on
 *     reset                             resets all of them, and forgets them
 *
 * Each line is answered by one line. Needs the right to make devices; see bench/shards.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/base/base.h"

enum {
    ADDRESS_PORTS = 20000, /* connections from one address */
    PORT_FIRST = 20000,
    UNDER_WAY_MAX = 64, /* connections that have not been answered */
    PATIENCE_MS = 2000, /* without an answer, until it is over */
    PACKET_MAX = 65536,
    REQUEST_MAX = 512,
    COUNT_MAX = 1000000,
};

struct sink {
    int device;
    struct in_addr hub;
    uint16_t port;
    char request[REQUEST_MAX];
    uint32_t count;
    uint32_t asked;
    uint32_t answered;
    uint32_t *next; /* of each connection: the sequence number of our next byte */
};

static struct sink sink;

static void fail(const char *what)
{
    fprintf(stderr, "bench_sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- Packets -----------------------------------------------------------------------------------
 */

struct segment {
    struct iphdr ip;
    struct tcphdr tcp;
    char rest[REQUEST_MAX + 16];
};

static uint32_t sum_words(const void *bytes, size_t len, uint32_t sum)
{
    const uint8_t *at = bytes;
    for (; len >= 2; len -= 2, at += 2) {
        sum += (uint32_t)at[0] << 8 | at[1];
    }
    return len == 0 ? sum : sum + ((uint32_t)at[0] << 8);
}

static uint16_t sum_fold(uint32_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return htons((uint16_t)~sum);
}

/* Sends `len` bytes of `rest` behind the heads, of which the first `options` belong to the head. */
static void segment_send(struct segment *segment, uint32_t index, size_t options, size_t len)
{
    size_t tcp_len = sizeof(segment->tcp) + len;
    segment->tcp.source = htons((uint16_t)(PORT_FIRST + index % ADDRESS_PORTS));
    segment->tcp.dest = htons(sink.port);
    segment->tcp.doff = (sizeof(segment->tcp) + options) / 4 & 15;
    segment->tcp.window = htons(0xffff);
    segment->ip = (struct iphdr){
        .version = 4,
        .ihl = 5,
        .ttl = 64,
        .protocol = IPPROTO_TCP,
        .tot_len = htons((uint16_t)(sizeof(segment->ip) + tcp_len)),
        .saddr = htonl(0x0a630101 + index / ADDRESS_PORTS),
        .daddr = sink.hub.s_addr,
    };
    segment->ip.check = sum_fold(sum_words(&segment->ip, sizeof(segment->ip), 0));
    segment->tcp.check = 0;
    uint32_t sum = sum_words(&segment->ip.saddr, 8, IPPROTO_TCP + (uint32_t)tcp_len);
    segment->tcp.check = sum_fold(sum_words(&segment->tcp, tcp_len, sum));
    size_t size = sizeof(segment->ip) + tcp_len;
    if (write(sink.device, segment, size) != (ssize_t)size) {
        fail("the device takes no packet; is it up?");
    }
}

static void syn_send(uint32_t index)
{
    /* Segments of 1,460 bytes, windows in units of 1,024. */
    static const char options[8] = {2, 4, 0x05, (char)0xb4, 1, 3, 3, 10};
    struct segment segment = {.tcp = {.syn = 1, .seq = htonl(sink.next[index]++)}};
    memcpy(segment.rest, options, sizeof(options));
    segment_send(&segment, index, sizeof(options), sizeof(options));
}

static void request_send(uint32_t index, uint32_t ack)
{
    struct segment segment = {
        .tcp = {.ack = 1, .psh = 1, .seq = htonl(sink.next[index]), .ack_seq = htonl(ack)}};
    size_t len = strlen(sink.request);
    memcpy(segment.rest, sink.request, len);
    segment_send(&segment, index, 0, len);
    sink.next[index] += (uint32_t)len;
}

/* What comes through: answers to our SYNs; all else is of no interest. */
static void packet_take(void)
{
    static char packet[PACKET_MAX];
    struct iphdr ip;
    struct tcphdr tcp;
    ssize_t len = read(sink.device, packet, sizeof(packet));
    if (len < (ssize_t)(sizeof(ip) + sizeof(tcp))) {
        return;
    }
    memcpy(&ip, packet, sizeof(ip));
    memcpy(&tcp, packet + sizeof(ip), sizeof(tcp));
    uint32_t place = ntohl(ip.daddr) - 0x0a630101;
    uint32_t index = place * ADDRESS_PORTS + ntohs(tcp.dest) - PORT_FIRST;
    if (ip.protocol != IPPROTO_TCP || index >= sink.asked || !tcp.syn || !tcp.ack) {
        return;
    }
    request_send(index, ntohl(tcp.seq) + 1);
    sink.answered++;
}

/* ---- Commands ----------------------------------------------------------------------------------
 */

static void command_connect(void)
{
    struct pollfd poller = {.fd = sink.device, .events = POLLIN};
    static uint32_t start;
    start += 1U << 24;
    free(sink.next);
    sink.next = malloc(sink.count * sizeof(sink.next[0]));
    if (sink.next == NULL) {
        fail("connections");
    }
    sink.asked = sink.answered = 0;
    while (sink.answered < sink.count) {
        while (sink.asked < sink.count && sink.asked - sink.answered < UNDER_WAY_MAX) {
            sink.next[sink.asked] = start;
            syn_send(sink.asked++);
        }
        int ready = poll(&poller, 1, PATIENCE_MS);
        if (ready == 0) {
            break;
        }
        packet_take();
    }
}

static void command_reset(void)
{
    for (uint32_t i = 0; i < sink.asked; i++) {
        struct segment segment = {.tcp = {.rst = 1, .seq = htonl(sink.next[i])}};
        segment_send(&segment, i, 0, 0);
    }
    sink.asked = 0;
}

static bool obey(const char *line)
{
    char address[64];
    char path[200];
    unsigned count;
    unsigned port;
    if (strncmp(line, "reset", 5) == 0) {
        command_reset();
    } else if (sscanf(line, "connect %u %63s %u %199s", &count, address, &port, path) == 4 &&
               count >= 1 && count <= COUNT_MAX && port <= UINT16_MAX &&
               inet_pton(AF_INET, address, &sink.hub) == 1) {
        sink.port = (uint16_t)port;
        sink.count = count;
        snprintf(sink.request, sizeof(sink.request),
                 "GET %s HTTP/1.1\r\nHost: sink\r\nAccept: text/event-stream\r\n\r\n", path);
        command_connect();
    } else {
        return false;
    }
    printf("{\"asked\":%u,\"connected\":%u}\n", sink.asked, sink.answered);
    fflush(stdout);
    return true;
}

static void device_open(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    sink.device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (sink.device < 0 || ioctl(sink.device, TUNSETIFF, &request) < 0 ||
        fcntl(sink.device, F_SETFL, O_NONBLOCK) < 0) {
        fail("cannot make the device");
    }
    printf("{\"device\":\"%s\"}\n", request.ifr_name);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[512];
    if (argc != 2) {
        fprintf(stderr, "usage: bench_sink DEVICE\n");
        return 2;
    }
    device_open(argv[1]);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (!obey(line)) {
            fprintf(stderr, "bench_sink: not understood: %s", line);
            return 2;
        }
    }
    return 0;
}
