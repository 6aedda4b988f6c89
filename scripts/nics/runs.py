"""The runs of `serve` in a guest: each starts it, lets the host use it, ends it, and judges what both sides counted.

They run in a thread that has entered the wire's namespace.
"""

import concurrent.futures

import checks
import wire

JUMBO = 9000
MTU = 1500
# The ends of two NICs in one guest.
JOINED_SERVER, JOINED_CLIENT = "198.18.9.1", "198.18.9.2"
# Flows that --rss-probe asks for.
PROBED = 256
# Segments with a wrong checksum.
CORRUPT = 8
SERVE = ["--ip", f"{wire.GUEST4}/24,{wire.GUEST4_VLAN}/24,{wire.GUEST6}/64", "--listen", f"{checks.ECHO}=echo",
         "--listen", f"{checks.HTTP}=http,size={checks.HTTP_BYTES}", "--listen", f"{checks.CHARGEN}=chargen",
         "--max-connections", "1k", "--max-time-wait", "1k", "--backlog", "64", "--max-kept-frames", "2k", "--idle", "sleep", "--json"]


def bind_run(machine, nic, step):
    """The NIC from the kernel to DPDK and back, by our own script, and what `doctor` says each time."""
    step("doctor and bind-nic")
    pci = machine.shell("for d in /sys/bus/pci/devices/*; do case $(cat $d/class) in 0x0200*) echo ${d##*/};; esac; done").split()[0]
    doctor = f"syncline doctor serve --nic pci:{pci} --ip {wire.GUEST4}/24"

    def expect(status, *texts):
        got, lines = machine.try_shell(doctor)
        missing = [text for text in texts if text not in "\n".join(lines)]
        if got != status or missing:
            raise checks.Wrong(f"doctor: status {got}, not {status}; without {missing}: {lines}")

    expect(1, "bound to the kernel's vmxnet3", f"fix: scripts/bind-nic --driver {nic.driver} {pci}")
    machine.shell(f"/scripts/bind-nic --driver {nic.driver} {pci}")
    expect(0, f"{pci} is bound to {nic.driver}", "is driven by net_vmxnet3", "would run on this machine")
    machine.shell("echo 0 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    if nic.iommu:
        expect(0, "would run on this machine")
    else:
        expect(1, "no hugepages are free", "fix: echo", "nr_hugepages")
    machine.shell("echo 224 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    machine.shell(f"/scripts/bind-nic --give-back {pci}")
    machine.shell(f"[ -e /sys/bus/pci/devices/{pci}/net/eth0 ]")
    expect(1, "bound to the kernel's vmxnet3")


def whole_run(machine, link, pci, step):
    """The run with everything in it: one queue, what the NIC offers, MTU 1500."""
    step("start")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE])
    link.forget_neighbors()
    recorder = wire.Recorder(link)
    for address in wire.GUEST4, wire.GUEST6:
        step(f"ping {address}")
        checks.ping(address)
        checks.neighbor_is_known(address)
    step("refused")
    checks.refused(wire.GUEST4)
    checks.refused(wire.GUEST6)
    step("echo of 10 MB")
    checks.echo(wire.GUEST4, 10_000_000)
    step("echo over IPv6")
    checks.echo(wire.GUEST6, 300_000)
    step("VLAN")
    checks.ping(wire.GUEST4_VLAN)
    checks.echo(wire.GUEST4_VLAN, 300_000)
    step("curl")
    for host in wire.GUEST4, f"[{wire.GUEST6}]", wire.GUEST4_VLAN:
        checks.curl(f"http://{host}/")
    step("200 connections in a row, 40 at once")
    checks.connections(wire.GUEST4, 200, 40)
    step("corrupt segments")
    checks.corrupt_segments_are_dropped(CORRUPT)
    checks.ping(wire.GUEST4)
    step("Ctrl-C in the middle of downloads")
    downloads = checks.Downloads(wire.GUEST4, 4)
    downloads.drain_for(10)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ended = pool.submit(downloads.end)
        status, summary, _ = machine.stop("INT")
        ended.result()
    summary, recorder = finish(recorder, status, summary)
    checks.counted(summary, "tcp_checksum", CORRUPT)
    return summary, recorder


def judge_cuts(nic, summary, recorder):
    """Large segments came to the host in pieces of an MSS; where the host takes them whole, with the size of the pieces."""
    if not nic.vnet_hdr and (recorder.large or recorder.longest > MTU):
        raise checks.Wrong(f"the longest packet has {recorder.longest} bytes, {recorder.large} were left to the host to cut")
    tso = summary["nic"]["offloads"]["tso"]
    if tso and not summary["counters"].get("tx_cut", 0):
        raise checks.Wrong("the NIC was given no segment to cut")
    if nic.vnet_hdr and tso and not recorder.large:
        raise checks.Wrong("no large segment was left to the host to cut")
    if any(size > MTU - 40 for size in recorder.segment_sizes):
        raise checks.Wrong(f"the host was to make segments of {recorder.segment_sizes} bytes")


def judge_lro(nic, summary):
    """What the host leaves uncut comes as large segments where the NIC puts segments together, and only there."""
    large = summary["counters"].get("rx_large", 0)
    if summary["nic"]["offloads"]["lro"] != nic.puts_together or bool(large) != nic.puts_together:
        raise checks.Wrong(f"{large} large segments with LRO {summary['nic']['offloads']['lro']}")


def software_run(machine, link, pci, step):
    """Every offload off: all checksums are ours, and no frame is left to the host half done."""
    step("start without offloads")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--no-offload", "all"])
    recorder = wire.Recorder(link)
    step("no offloads")
    for address in wire.GUEST4, wire.GUEST6, wire.GUEST4_VLAN:
        checks.echo(address, 300_000)
    checks.corrupt_segments_are_dropped(CORRUPT)
    checks.ping(wire.GUEST4)
    summary, recorder = finish(recorder, *machine.stop()[:2])
    used = [name for name, on in summary["nic"]["offloads"].items() if on]
    if used or recorder.left_to_host:
        raise checks.Wrong(f"--no-offload all: {used}, {recorder.left_to_host} checksums left to the host")
    checks.counted(summary, "rx_large", 0)
    checks.counted(summary, "tcp_checksum", CORRUPT)


def broken_run(machine, link, pci, fault, step):
    """Requests for a TCP checksum that are wrong on purpose: says whether the recorder objected, as it must where the emulation
    reads that part of the request."""
    step(f"start with a wrong {fault}")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--offload-fault", fault])
    recorder = wire.Recorder(link)
    step(f"a wrong {fault}")
    checks.ping(wire.GUEST4)
    checks.knock(wire.GUEST4)
    machine.stop()
    return bool(recorder.end().wrong)


def exchange_jumbo_frames():
    """Packets of 9000 bytes, both ways, untagged and in the VLAN."""
    checks.ping(wire.GUEST4, "-s", str(JUMBO - 28), "-M", "do")
    checks.echo(wire.GUEST4, 1_000_000)
    checks.echo(wire.GUEST6, 300_000)
    checks.ping(wire.GUEST4_VLAN, "-s", str(JUMBO - 28), "-M", "do")
    checks.echo(wire.GUEST4_VLAN, 300_000)


def jumbo_run(machine, link, pci, step):
    """Packets of 9000 bytes, both ways, and the VLAN named."""
    step("start with jumbo frames")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--mtu", str(JUMBO), "--vlan", f"0,{wire.VLAN}"])
    link.set_mtu(JUMBO)
    recorder = wire.Recorder(link)
    step("jumbo frames")
    exchange_jumbo_frames()
    summary, recorder = finish(recorder, *machine.stop("TERM")[:2])
    link.set_mtu(1500)
    if recorder.longest < JUMBO:
        raise checks.Wrong(f"the longest packet of the guest had {recorder.longest} bytes")
    return summary, recorder


def load_run(machine, joined, step):
    """`load` on one NIC against `serve` on another, joined in the emulator: connections, requests, and bytes both ways."""
    step("start a server for load")
    machine.start(["serve", "--nic", f"pci:{joined[0]}", "--ip", f"{JOINED_SERVER}/24", *SERVE[2:]])
    common = ["--nic", f"pci:{joined[1]}", "--ip", f"{JOINED_CLIENT}/24", "--allow-target", f"{JOINED_SERVER}/32", "--idle", "sleep"]
    for words in (["load", f"http://{JOINED_SERVER}/", "--workload", "connect", "--close", "rst", "-n", "200", "-c", "10", "-d", "20s"],
                  ["load", f"tcp://{JOINED_SERVER}:{checks.ECHO}", "--workload", "stream", "--direction", "both", "--expect-pattern",
                   "-c", "2", "-d", "1s"]):
        step(" ".join(words[:4]))
        status, result, log = machine.run([*words, *common, "-J"])
        checks.load_is_clean(status, result, log)
    status, summary, _ = machine.stop()
    checks.summary_is_clean(status, summary)


def scatter_run(machine, link, pci, step):
    """Packets of 9000 bytes into buffers of 2048. The summary, and why not where the driver refuses."""
    step("start with short receive buffers")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--mtu", str(JUMBO), "--rx-buffer", "2048"])
    link.set_mtu(JUMBO)
    recorder = wire.Recorder(link)
    step("jumbo frames in short buffers")
    exchange_jumbo_frames()
    summary, recorder = finish(recorder, *machine.stop("TERM")[:2])
    link.set_mtu(1500)
    if not summary["counters"].get("rx_linearized", 0):
        raise checks.Wrong("no frame came in several buffers")
    return summary


def short_buffers_are_refused(machine, pci, step):
    """Where packets in several buffers don't arrive, buffers that are too short are an error that says so."""
    step("short receive buffers are refused")
    status, lines = machine.try_shell(f"syncline serve --nic pci:{pci} {' '.join(SERVE)} --mtu {JUMBO} --rx-buffer 2048 2>&1")
    if status == 0 or "can't receive a packet into several buffers" not in "\n".join(lines):
        raise checks.Wrong(f"short buffers: status {status}: {lines}")


def wrong_tag_run(machine, link, pci, step):
    """The NIC is asked to put in the tag of another VLAN: that is the one that the host sees, so the NIC has put it in."""
    step("start with a wrong VLAN tag")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--offload-fault", "vlan-tag"])
    recorder = wire.Recorder(link)
    step("a wrong VLAN tag")
    checks.ping(wire.GUEST4)
    checks.knock(wire.GUEST4_VLAN)
    machine.stop()
    if recorder.end().vlans != {0, wire.VLAN ^ 1}:
        raise checks.Wrong(f"the host saw the VLANs {recorder.vlans}, not the wrong one")


def queues_run(machine, link, pci, nic, step):
    """Several queues, a worker on each: new flows come to the queue that the NIC's hash names, as far as it says."""
    step(f"start with {nic.queues} queues")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--queues", str(nic.queues)])
    recorder = wire.Recorder(link)
    step(f"{nic.queues} queues")
    checks.connections(wire.GUEST4, 200, 40)
    checks.connections(wire.GUEST6, 60, 0)
    checks.echo(wire.GUEST4, 1_000_000)
    summary, recorder = finish(recorder, *machine.stop()[:2])
    rss = summary["rss"]
    if rss["verdict"] != nic.rss:
        raise checks.Wrong(f"RSS is {rss}, not {nic.rss}")
    if nic.rss == "proven" and not rss["handed_over_share"] < 0.01:
        raise checks.Wrong(f"{rss['handed_over_share']:.1%} of the frames were handed over")
    return summary, recorder


def probe_run(machine, _link, pci, nic, step):
    """Where the NIC brings flows, asked before the first of them, under a key that is the same both ways."""
    step("start with --rss-probe")
    machine.start([*probing(pci, nic), "--rss-key", "symmetric"])
    step("--rss-probe")
    checks.connections(wire.GUEST4, 100, 0)
    status, summary, log = machine.stop()
    checks.summary_is_clean(status, summary, PROBED)
    if nic.rss == "proven":
        expected, probed = "0 elsewhere than predicted: each on the queue", PROBED
    else:
        expected, probed = f"({PROBED} on queue 0, 0 on queue 1); the driver does not say how it steers", 0
    if f"{PROBED} of {PROBED} resets" not in log or expected not in log:
        raise checks.Wrong(f"--rss-probe: {log[-600:]}")
    if summary["rss"]["verdict"] != nic.rss or summary["rss"]["probed"] != probed:
        raise checks.Wrong(f"RSS is {summary['rss']}, not {nic.rss}")


def probing(pci, nic):
    """A server that asks the host before the first flow."""
    return ["serve", "--nic", f"pci:{pci}", *SERVE, "--queues", str(nic.queues), "--rss-probe", wire.HOST4]


def permuted_run(machine, _link, pci, nic, step):
    """The NIC's indirection table is another one than it says: that is noticed before the first flow, and everything is served all the
    same."""
    step("start with a permuted indirection table")
    machine.start([*probing(pci, nic), "--offload-fault", "indirection-table"])
    step("a permuted indirection table")
    checks.connections(wire.GUEST4, 150, 20)
    status, summary, log = machine.stop()
    checks.summary_is_clean(status, summary, PROBED)
    if "not where the NIC's key and indirection table say" not in log:
        raise checks.Wrong(f"--rss-probe did not notice a permuted indirection table: {log[-600:]}")
    if summary["rss"]["verdict"] != "contradicted":
        raise checks.Wrong(f"a permuted indirection table was not noticed: {summary['rss']}")


def finish(recorder, status, summary):
    """What every run must hold at its end."""
    recorder.end()
    if recorder.wrong:
        raise checks.Wrong(f"{len(recorder.wrong)} wrong frames of {recorder.frames}, the first: {recorder.wrong[0]}")
    checks.summary_is_clean(status, summary)
    return summary, recorder
