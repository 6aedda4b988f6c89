/*
 * What bindgen reads: DPDK's own headers, and the few things that bindgen can't see in them (inline functions, macros
 * with casts, thread-local variables, bit-fields). Read by build.rs and by inlined.c. Never holds logic.
 */
#include <rte_config.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_version.h>

/*
 * Offsets of the fields of an mbuf that Rust reads and writes in place. inlined.c asserts them against the installed
 * headers, src/lib.rs asserts its view of an mbuf against them: another DPDK is a build error, never a wrong byte.
 */
#define SL_MBUF_OFFSET_BUF_ADDR 0
#define SL_MBUF_OFFSET_DATA_OFF 16
#define SL_MBUF_OFFSET_REFCNT 18
#define SL_MBUF_OFFSET_NB_SEGS 20
#define SL_MBUF_OFFSET_PORT 22
#define SL_MBUF_OFFSET_OL_FLAGS 24
#define SL_MBUF_OFFSET_PKT_LEN 36
#define SL_MBUF_OFFSET_DATA_LEN 40
#define SL_MBUF_OFFSET_VLAN_TCI 42
#define SL_MBUF_OFFSET_BUF_LEN 54
#define SL_MBUF_OFFSET_POOL 56
#define SL_MBUF_OFFSET_NEXT 64
#define SL_MBUF_OFFSET_TX_OFFLOAD 72
#define SL_MBUF_BYTES 128
/* Where l3_len starts inside tx_offload; l2_len starts at 0. */
#define SL_MBUF_L3_LEN_SHIFT 7
/* Where l4_len and tso_segsz start. */
#define SL_MBUF_L4_LEN_SHIFT 16
#define SL_MBUF_TSO_SEGSZ_SHIFT 24

/* Macros built on RTE_BIT64 and casts are invisible to bindgen: the same values with a type. */
static const uint64_t SL_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SL_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SL_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SL_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SL_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t SL_TX_OFFLOAD_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t SL_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SL_RX_OFFLOAD_TCP_LRO = RTE_ETH_RX_OFFLOAD_TCP_LRO;
static const uint64_t SL_RX_OFFLOAD_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
static const uint64_t SL_TX_OFFLOAD_VLAN_INSERT = RTE_ETH_TX_OFFLOAD_VLAN_INSERT;
static const uint64_t SL_RX_OFFLOAD_VLAN_FILTER = RTE_ETH_RX_OFFLOAD_VLAN_FILTER;
static const uint64_t SL_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SL_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t SL_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t SL_MBUF_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SL_MBUF_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SL_MBUF_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SL_MBUF_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t SL_MBUF_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t SL_MBUF_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SL_MBUF_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t SL_MBUF_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t SL_MBUF_TX_VLAN = RTE_MBUF_F_TX_VLAN;
static const uint64_t SL_MBUF_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SL_MBUF_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t SL_MBUF_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SL_MBUF_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SL_MBUF_EXTERNAL = RTE_MBUF_F_EXTERNAL;
static const uint64_t SL_MBUF_INDIRECT = RTE_MBUF_F_INDIRECT;
static const uint32_t SL_RING_SINGLE_PRODUCER = RING_F_SP_ENQ;
static const uint32_t SL_RING_SINGLE_CONSUMER = RING_F_SC_DEQ;
/* Owners of one buffer at most when another one is added: half of what the counter holds, so that it can't wrap. */
static const uint16_t SL_MBUF_OWNERS_MAX = 0x8000;
static const uint32_t SL_PKTMBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;

/* Inline in DPDK, thread-local, or different between versions: real functions in inlined.c. */
struct sl_link {
	uint32_t speed_mbps;
	uint32_t up;
};

/* How a started port steers received frames. */
#define SL_RSS_KEY_BYTES 64
#define SL_RSS_TABLE_SLOTS 512
#define SL_RSS_FIELDS_ADDRESSES 1
#define SL_RSS_FIELDS_PORTS 2
struct sl_rss {
	uint8_t key[SL_RSS_KEY_BYTES];
	uint16_t table[SL_RSS_TABLE_SLOTS];
	uint16_t table_size;
	uint8_t key_size;
	uint8_t fields_v4;
	uint8_t fields_v6;
};

typedef ssize_t (*sl_log_write)(void *cookie, const char *text, size_t bytes);
typedef void (*sl_library_write)(int level, const char *text);

uint16_t sl_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **into, uint16_t n);
uint16_t sl_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t n);
uint16_t sl_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **from, uint16_t n);
struct rte_mempool *sl_pktmbuf_pool_create(const char *name, uint32_t frames, uint32_t cache, uint16_t room, int socket, bool packed);
int sl_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **into, uint32_t n);
struct rte_mbuf *sl_mbuf_alloc(struct rte_mempool *pool);
void sl_mbuf_free(struct rte_mbuf *mbuf);
void sl_mbuf_free_bulk(struct rte_mbuf **from, uint32_t n);
int sl_mbuf_chain(struct rte_mbuf *head, struct rte_mbuf *body, uint16_t start, uint16_t len,
		  struct rte_mempool *pool);
uint32_t sl_ring_drain(struct rte_ring *ring);
uint32_t sl_lcore_id(void);
int sl_errno(void);
int sl_link_get(uint16_t port, struct sl_link *into);
int sl_rss_get(uint16_t port, struct sl_rss *into);
int sl_rss_reverse_table(uint16_t port, const struct sl_rss *from);
uint64_t sl_cycles(void);
void sl_pause(void);
int sl_log_open(sl_log_write write);
int sl_print_aside_start(void);
char *sl_print_aside_end(void);
void sl_library_log_open(sl_library_write write);
uint16_t sl_ipv4_header_cksum(const void *ipv4);
int sl_ipv4_l4_cksum_verify(const void *ipv4, const void *l4);
int sl_ipv6_l4_cksum_verify(const void *ipv6, const void *l4);
