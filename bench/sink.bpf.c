/*
 * The receiving half of TCP, as little of it as there can be: a program for the kernel's traffic
 * control that makes of every packet with data, on its way out of the device of bench_sink, the
 * acknowledgement of it, and turns it round. So the sender does all that a sender does, and nobody
 * has to read what it sends. Packets without data go on to bench_sink, which makes connections.
 *
 * clang -O2 -target bpf -c bench/sink.bpf.c; see bench/shards
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#define SECTION(name) __attribute__((section(name), used))

enum {
    IP_LEN = sizeof(struct iphdr),
    TCP_LEN = sizeof(struct tcphdr),
    HEADS_LEN = IP_LEN + TCP_LEN
};

/* What the kernel offers, by number; see bpf-helpers(7). */
static long (*const skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from,
                                     __u32 len, __u64 flags) = (void *)9;
static long (*const l3_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to,
                                     __u64 size) = (void *)10;
static long (*const redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*const skb_change_tail)(struct __sk_buff *skb, __u32 len, __u64 flags) = (void *)38;

static __inline __u16 swap16(__u16 value)
{
    return __builtin_bswap16(value);
}

SECTION("classifier")
int acknowledge(struct __sk_buff *skb)
{
    const char *data = (const char *)(long)skb->data;
    const char *end = (const char *)(long)skb->data_end;
    if (data + HEADS_LEN > end) {
        return TC_ACT_OK;
    }
    struct iphdr ip = *(const struct iphdr *)data;
    struct tcphdr tcp = *(const struct tcphdr *)(data + IP_LEN);
    __u32 heads_len = IP_LEN + tcp.doff * 4U;
    if (ip.protocol != IPPROTO_TCP || ip.ihl * 4U != IP_LEN || skb->len <= heads_len || tcp.syn) {
        return TC_ACT_OK;
    }
    /* Of a packet that will be cut up, the field in the head is of no use, and skb->len is right.
     */
    __u32 payload = skb->len - heads_len;
    __u32 seq = tcp.seq;
    __u16 source = tcp.source;
    __u16 total = ip.tot_len;
    tcp.seq = tcp.ack_seq;
    tcp.ack_seq = __builtin_bswap32(__builtin_bswap32(seq) + payload);
    tcp.source = tcp.dest;
    tcp.dest = source;
    tcp.doff = TCP_LEN / 4;
    tcp.psh = 0;
    tcp.fin = 0;
    tcp.window = 0xffff;
    if (skb_change_tail(skb, heads_len, 0) < 0) {
        return TC_ACT_SHOT;
    }
    if (heads_len > HEADS_LEN && skb_change_tail(skb, HEADS_LEN, 0) < 0) {
        return TC_ACT_SHOT;
    }
    skb_store_bytes(skb, IP_LEN, &tcp, sizeof(tcp), 0);
    /* Addresses that change places leave the sum as it is. */
    skb_store_bytes(skb, __builtin_offsetof(struct iphdr, saddr), &ip.daddr, 4, 0);
    skb_store_bytes(skb, __builtin_offsetof(struct iphdr, daddr), &ip.saddr, 4, 0);
    __u16 new_total = swap16(HEADS_LEN);
    l3_csum_replace(skb, __builtin_offsetof(struct iphdr, check), total, new_total, 2);
    skb_store_bytes(skb, __builtin_offsetof(struct iphdr, tot_len), &new_total, 2, 0);
    return redirect(skb->ifindex, BPF_F_INGRESS);
}

char license_text[] SECTION("license") = "Dual MIT/GPL";
