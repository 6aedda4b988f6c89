"""The capability matrix of docs/reference/nics.md: what each driver offers and what is used, from the summaries of the runs.

It must never say more than a run has shown.
"""

BEGIN, END = "<!-- matrix: scripts/test-nics --write-docs -->", "<!-- end of matrix -->"

# An offload: its name here, the field of the summary's `offloads` that says whether it is used, DPDK's name of it among those
# that a driver offers for receiving (rx) or sending (tx), and the reason where it is never used.
OFFLOADS = (
    ("RX IPv4 checksum", "rx_ipv4_checksum", "rx", "ipv4_cksum", ""),
    ("RX TCP checksum", "rx_tcp_checksum", "rx", "tcp_cksum", ""),
    ("TX IPv4 checksum", "tx_ipv4_checksum", "tx", "ipv4_cksum", ""),
    ("TX TCP checksum", "tx_tcp_checksum", "tx", "tcp_cksum", ""),
    ("TX from several buffers", "tx_multi_seg", "tx", "multi_segs", ""),
    ("TSO", "tso", "tx", "tcp_tso", ""),
    ("LRO", "lro", "rx", "tcp_lro", "a"),
    ("RX into several buffers", "rx_scatter", "rx", "scatter", "a"),
    ("VLAN strip", "vlan_strip", "rx", "vlan_strip", ""),
    ("VLAN insert", "vlan_insert", "tx", "vlan_insert", ""),
)
NOTES = """\
(a) QEMU's vmxnet3 delivers no packet that needs a second buffer: LRO is not asked for and `--rx-buffer` is refused there."""


class Row:
    """What the runs of one NIC have shown."""

    def __init__(self, nic, summary):
        self.nic, self.summary = nic, summary
        self.rss = "one queue pair"
        self.offloads = dict(summary["nic"]["offloads"])

    def with_queues(self, summary):
        """The run with several queues."""
        rss = summary["rss"]
        self.rss = f"{rss['verdict']}, {rss['handed_over_share']:.1%} handed over"

    def with_short_buffers(self, summary):
        """The run with buffers that are shorter than a packet."""
        self.offloads["rx_scatter"] = summary["nic"]["offloads"]["rx_scatter"]

    def cells(self):
        """Its column."""
        nic = self.summary["nic"]
        yield f"`{nic['driver']}`"
        yield "none" if self.nic.driver == "none" else f"`{self.nic.driver}`"
        for _, field, direction, name, reason in OFFLOADS:
            if self.offloads[field]:
                yield "used"
            elif name in nic[f"offered_{direction}"]:
                yield f"offered, not used ({reason})"
            else:
                yield "not offered"
        yield self.rss


def table(rows):
    """The matrix: a line for each capability, a column for each NIC."""
    lines = ["Driver of DPDK", "Driver of the kernel", *(offload[0] for offload in OFFLOADS), "RSS, two queues"]
    columns = [list(row.cells()) for row in rows]
    yield "| | " + " | ".join(row.nic.name for row in rows) + " |"
    yield "|---" * (len(rows) + 1) + "|"
    for number, line in enumerate(lines):
        yield f"| {line} | " + " | ".join(column[number] for column in columns) + " |"


def block(rows, versions):
    """What stands between the marks."""
    return "\n".join([BEGIN, f"Made by a run with {versions}:", "", *table(rows), "", *NOTES.splitlines(), END])


def write(path, rows, versions):
    """Puts the matrix into the page."""
    with open(path) as file:
        text = file.read()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    with open(path, "w") as file:
        file.write(before + block(rows, versions) + after)


def differs(path, rows, versions):
    """Whether the page says something else, made with the same versions. A share of hand-overs may differ."""
    with open(path) as file:
        text = file.read()
    recorded = text[text.index(BEGIN):text.index(END) + len(END)]
    same_versions = f"Made by a run with {versions}:" in recorded
    return same_versions and _without_shares(recorded) != _without_shares(block(rows, versions))


def _without_shares(text):
    return [word for word in text.split() if not word.endswith("%")]
