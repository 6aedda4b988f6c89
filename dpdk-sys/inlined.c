/*
 * DPDK's inline functions and thread-local variables as real symbols, and the compile-time proof that an mbuf looks the
 * way src/lib.rs thinks. Called from Rust only. Never holds logic of ours.
 */
#define _GNU_SOURCE
#include "wrapper.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_pause.h>

#define FIELD_AT(field, offset) \
	_Static_assert(offsetof(struct rte_mbuf, field) == (offset), "this DPDK has mbuf." #field " elsewhere")

FIELD_AT(buf_addr, SL_MBUF_OFFSET_BUF_ADDR);
FIELD_AT(data_off, SL_MBUF_OFFSET_DATA_OFF);
FIELD_AT(refcnt, SL_MBUF_OFFSET_REFCNT);
FIELD_AT(nb_segs, SL_MBUF_OFFSET_NB_SEGS);
FIELD_AT(port, SL_MBUF_OFFSET_PORT);
FIELD_AT(ol_flags, SL_MBUF_OFFSET_OL_FLAGS);
FIELD_AT(pkt_len, SL_MBUF_OFFSET_PKT_LEN);
FIELD_AT(data_len, SL_MBUF_OFFSET_DATA_LEN);
FIELD_AT(vlan_tci, SL_MBUF_OFFSET_VLAN_TCI);
FIELD_AT(buf_len, SL_MBUF_OFFSET_BUF_LEN);
FIELD_AT(pool, SL_MBUF_OFFSET_POOL);
FIELD_AT(next, SL_MBUF_OFFSET_NEXT);
FIELD_AT(tx_offload, SL_MBUF_OFFSET_TX_OFFLOAD);
/* What a fresh mbuf has set: from data_off to the end of what receiving writes (packet type, lengths, VLAN, hash). */
#define SL_MBUF_FRESH_BYTES 32
_Static_assert(SL_MBUF_OFFSET_REFCNT == SL_MBUF_OFFSET_DATA_OFF + 2 && SL_MBUF_OFFSET_NB_SEGS == SL_MBUF_OFFSET_DATA_OFF + 4 &&
		       SL_MBUF_OFFSET_PORT == SL_MBUF_OFFSET_DATA_OFF + 6 && SL_MBUF_OFFSET_OL_FLAGS == SL_MBUF_OFFSET_DATA_OFF + 8 &&
		       offsetof(struct rte_mbuf, rearm_data) == SL_MBUF_OFFSET_DATA_OFF &&
		       offsetof(struct rte_mbuf, rx_descriptor_fields1) == offsetof(struct rte_mbuf, rearm_data) + 16 &&
		       offsetof(struct rte_mbuf, pkt_len) == offsetof(struct rte_mbuf, rx_descriptor_fields1) + 4 &&
		       offsetof(struct rte_mbuf, hash) + 4 == offsetof(struct rte_mbuf, rearm_data) + SL_MBUF_FRESH_BYTES,
	       "this DPDK has an mbuf whose received fields lie elsewhere");
_Static_assert(sizeof(struct rte_mbuf) == SL_MBUF_BYTES, "this DPDK has mbufs of another size");
_Static_assert(RTE_MBUF_L2_LEN_BITS == SL_MBUF_L3_LEN_SHIFT, "this DPDK has another tx_offload layout");
_Static_assert(RTE_MBUF_L2_LEN_BITS + RTE_MBUF_L3_LEN_BITS == SL_MBUF_L4_LEN_SHIFT && RTE_MBUF_L4_LEN_BITS == 8 &&
		       SL_MBUF_L4_LEN_SHIFT + RTE_MBUF_L4_LEN_BITS == SL_MBUF_TSO_SEGSZ_SHIFT && RTE_MBUF_TSO_SEGSZ_BITS == 16,
	       "this DPDK has another tx_offload layout");
_Static_assert(RTE_MBUF_L3_LEN_BITS == 9, "this DPDK has another tx_offload layout");

uint16_t sl_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **into, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, into, n);
}

uint16_t sl_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, from, n);
}

/* How many of the first frames may be sent as they are now: a driver changes what its offloads need. */
uint16_t sl_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t n)
{
	return rte_eth_tx_prepare(port, queue, from, n);
}

/* A fresh mbuf from data_off on: headroom, one owner, one segment, no input port, no flags, no lengths. */
typedef uint64_t fresh_fields __attribute__((vector_size(SL_MBUF_FRESH_BYTES), aligned(8), may_alias));
static const fresh_fields fresh = {
	(uint64_t)RTE_PKTMBUF_HEADROOM | 1ULL << 16 | 1ULL << 32 | (uint64_t)RTE_MBUF_PORT_INVALID << 48,
};

/*
 * As rte_pktmbuf_alloc_bulk, with one store for each header instead of eleven. It relies on what holds for every mbuf in a pool
 * (rte_mbuf_raw_free): direct, with no next. What only a flag gives a meaning (tx_offload, vlan_tci_outer) stays as it is.
 */
int sl_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **into, uint32_t n)
{
	uint32_t i;

	if (rte_pktmbuf_data_room_size(pool) < RTE_PKTMBUF_HEADROOM ||
	    (rte_pktmbuf_priv_flags(pool) & RTE_PKTMBUF_POOL_F_PINNED_EXT_BUF))
		return rte_pktmbuf_alloc_bulk(pool, into, n);
	if (rte_mempool_get_bulk(pool, (void **)into, n) != 0)
		return -ENOENT;
	for (i = 0; i < n; i++)
		*(fresh_fields *)((char *)into[i] + SL_MBUF_OFFSET_DATA_OFF) = fresh;
	return 0;
}

/*
 * As rte_pktmbuf_pool_create. `packed` is for pools that no device reaches by IOVA: frames lie one behind the other across the ends
 * of pages. Else each frame of a pool in pages of 4 kB begins a page, and all headers share a few sets of the L1 cache.
 */
struct rte_mempool *sl_pktmbuf_pool_create(const char *name, uint32_t frames, uint32_t cache, uint16_t room, int socket, bool packed)
{
	struct rte_pktmbuf_pool_private private = { .mbuf_data_room_size = room };
	struct rte_mempool *pool;
	int failed;

	if (!packed)
		return rte_pktmbuf_pool_create(name, frames, cache, 0, room, socket);
	pool = rte_mempool_create_empty(name, frames, sizeof(struct rte_mbuf) + room, cache, sizeof(private), socket,
					RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (pool == NULL)
		return NULL;
	failed = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (failed == 0) {
		rte_pktmbuf_pool_init(pool, &private);
		failed = rte_mempool_populate_default(pool);
	}
	if (failed < 0) {
		rte_mempool_free(pool);
		rte_errno = -failed;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mbuf *sl_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void sl_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

/* One put for the usual burst (direct, unshared, one segment, one pool): half the price of rte_pktmbuf_free_bulk. */
void sl_mbuf_free_bulk(struct rte_mbuf **from, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		const struct rte_mbuf *m = from[i];

		if (m->pool != from[0]->pool || rte_mbuf_refcnt_read(m) != 1 || m->nb_segs != 1 ||
		    !RTE_MBUF_DIRECT(m)) {
			rte_pktmbuf_free_bulk(from, n);
			return;
		}
	}
	if (n > 0)
		rte_mempool_put_bulk(from[0]->pool, (void **)from, n);
}

/*
 * A reference to body[start, start + len) at the end of head's chain. rte_pktmbuf_clone would reference all of body's
 * segments, all of their bytes, and reset a header that attaching overwrites anyway. -1: nothing has changed.
 */
int sl_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *body, uint16_t start, uint16_t len, struct rte_mempool *pool)
{
	struct rte_mbuf *part;
	const struct rte_mbuf *owner = RTE_MBUF_CLONED(body) ? rte_mbuf_from_indirect(body) : body;

	if (RTE_MBUF_HAS_EXTBUF(body) || rte_mbuf_refcnt_read(owner) >= SL_MBUF_OWNERS_MAX ||
	    head->nb_segs == RTE_MBUF_MAX_NB_SEGS)
		return -1;
	part = rte_mbuf_raw_alloc(pool);
	if (part == NULL)
		return -1;
	rte_pktmbuf_attach(part, body);
	part->data_off += start;
	part->data_len = len;
	part->pkt_len = len;
	return rte_pktmbuf_chain(head, part);
}

uint32_t sl_ring_drain(struct rte_ring *ring)
{
	void *mbuf;
	uint32_t n = 0;

	while (rte_ring_dequeue(ring, &mbuf) == 0) {
		rte_pktmbuf_free(mbuf);
		n++;
	}
	return n;
}

uint32_t sl_lcore_id(void)
{
	return rte_lcore_id();
}

int sl_errno(void)
{
	return rte_errno;
}

int sl_link_get(uint16_t port, struct sl_link *into)
{
	struct rte_eth_link link = {0};
	int ret = rte_eth_link_get_nowait(port, &link);

	into->speed_mbps = link.link_speed;
	into->up = link.link_status == RTE_ETH_LINK_UP;
	return ret;
}

/* A negative errno where the driver doesn't say. Its table may be longer than ours: then it says nothing either. */
int sl_rss_get(uint16_t port, struct sl_rss *into)
{
	struct rte_eth_rss_reta_entry64 table[SL_RSS_TABLE_SLOTS / RTE_ETH_RETA_GROUP_SIZE] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = into->key, .rss_key_len = SL_RSS_KEY_BYTES};
	struct rte_eth_dev_info info;
	int ret = rte_eth_dev_info_get(port, &info);
	uint16_t i;

	if (ret != 0)
		return ret;
	if (info.reta_size == 0 || info.reta_size > SL_RSS_TABLE_SLOTS || info.hash_key_size == 0 ||
	    info.hash_key_size > SL_RSS_KEY_BYTES)
		return -ENOTSUP;
	conf.rss_key_len = info.hash_key_size;
	ret = rte_eth_dev_rss_hash_conf_get(port, &conf);
	if (ret != 0)
		return ret;
	for (i = 0; i < RTE_DIM(table); i++)
		table[i].mask = UINT64_MAX;
	ret = rte_eth_dev_rss_reta_query(port, table, info.reta_size);
	if (ret != 0)
		return ret;
	for (i = 0; i < info.reta_size; i++)
		into->table[i] = table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	into->table_size = info.reta_size;
	into->key_size = info.hash_key_size;
	into->fields_v4 = conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP ? SL_RSS_FIELDS_PORTS :
			  conf.rss_hf & RTE_ETH_RSS_IPV4 ? SL_RSS_FIELDS_ADDRESSES : 0;
	into->fields_v6 = conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV6_TCP ? SL_RSS_FIELDS_PORTS :
			  conf.rss_hf & RTE_ETH_RSS_IPV6 ? SL_RSS_FIELDS_ADDRESSES : 0;
	return 0;
}

int sl_rss_reverse_table(uint16_t port, const struct sl_rss *from)
{
	struct rte_eth_rss_reta_entry64 table[SL_RSS_TABLE_SLOTS / RTE_ETH_RETA_GROUP_SIZE] = {0};
	uint16_t i;

	for (i = 0; i < from->table_size; i++) {
		struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];

		group->mask |= UINT64_C(1) << i % RTE_ETH_RETA_GROUP_SIZE;
		group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = from->table[from->table_size - 1 - i];
	}
	return rte_eth_dev_rss_reta_update(port, table, from->table_size);
}

uint64_t sl_cycles(void)
{
	return rte_rdtsc();
}

void sl_pause(void)
{
	rte_pause();
}

int sl_log_open(sl_log_write write)
{
	cookie_io_functions_t io = {.write = write};
	FILE *stream = fopencookie(NULL, "w", io);

	return stream == NULL ? -1 : rte_openlog_stream(stream);
}

uint16_t sl_ipv4_header_cksum(const void *ipv4)
{
	return rte_ipv4_cksum(ipv4);
}

int sl_ipv4_l4_cksum_verify(const void *ipv4, const void *l4)
{
	return rte_ipv4_udptcp_cksum_verify(ipv4, l4);
}

int sl_ipv6_l4_cksum_verify(const void *ipv6, const void *l4)
{
	return rte_ipv6_udptcp_cksum_verify(ipv6, l4);
}

/* C's streams as variables, which glibc lets a program set: descriptors stay as they are. */
static struct {
	FILE *out, *err, *into;
	char *text;
	size_t bytes;
} aside;

int sl_print_aside_start(void)
{
	aside.text = NULL;
	aside.into = open_memstream(&aside.text, &aside.bytes);
	if (aside.into == NULL)
		return -1;
	aside.out = stdout;
	aside.err = stderr;
	stdout = aside.into;
	stderr = aside.into;
	return 0;
}

char *sl_print_aside_end(void)
{
	stdout = aside.out;
	stderr = aside.err;
	fclose(aside.into);
	return aside.text;
}

/* libbpf and libxdp print to stderr unless they get a function to print with; both have the same one. */
typedef int (*library_print)(int level, const char *format, va_list arguments);
typedef library_print (*library_set_print)(library_print print);

static sl_library_write library_write;

static int print_library(int level, const char *format, va_list arguments)
{
	char line[512];
	int bytes = vsnprintf(line, sizeof(line), format, arguments);

	library_write(level, line);
	return bytes;
}

void sl_library_log_open(sl_library_write write)
{
	static const char *const libraries[][2] = {
		{"libbpf.so.1", "libbpf_set_print"},
		{"libbpf.so.0", "libbpf_set_print"},
		{"libxdp.so.1", "libxdp_set_print"},
	};
	size_t i;

	library_write = write;
	for (i = 0; i < RTE_DIM(libraries); i++) {
		/* Only what a driver has loaded already. */
		void *library = dlopen(libraries[i][0], RTLD_LAZY | RTLD_NOLOAD);
		library_set_print set_print;

		if (library == NULL)
			continue;
		set_print = (library_set_print)dlsym(library, libraries[i][1]);
		if (set_print != NULL)
			set_print(print_library);
		dlclose(library);
	}
}
