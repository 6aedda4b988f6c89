"""The emulated NICs: QEMU's device, the kernel's driver that leaves it to DPDK, and what is known of the emulation."""

import dataclasses

import wire

MAC = "02:00:00:00:01:01"
# Slots on the PCI bus, in this order. igb takes two more, 16 slots on, for its virtual functions.
SLOTS = (3, 6, 9)
# Two more NICs of the same kind, joined by a hub in the emulator.
JOINED_MACS = ("02:00:00:00:02:01", "02:00:00:00:02:02")


@dataclasses.dataclass(frozen=True)
class Nic:
    """One NIC under one driver."""

    name: str
    device: str
    driver: str = "uio_pci_generic"
    options: str = ""
    # Whether the host's tap takes checksums and large segments half done (virtio's header). Without it the emulated NIC itself
    # computes them, as hardware would.
    vnet_hdr: bool = False
    # The wrong requests for a TCP checksum that show on the wire. QEMU's e1000e, igb and vmxnet3 sum the pseudo-header
    # themselves and find the headers by themselves; the others do what the request says.
    notices: tuple = ()
    # The first QEMU that emulates it well enough: before 8.0, vmxnet3 cuts large segments into IP fragments.
    first_qemu: int = 0
    # Whether packets that are longer than a buffer arrive. QEMU's vmxnet3 delivers none of them.
    scatters: bool = True
    # Whether it puts received segments together (LRO). QEMU's vmxnet3 could, but see above.
    puts_together: bool = False
    # Queue pairs of the run with several; 1 where the device has no more.
    queues: int = 1
    # What its RSS has to come to with them.
    rss: str = ""

    @property
    def iommu(self):
        """Whether the machine has an IOMMU."""
        return self.driver == "vfio-pci"

    @property
    def taps(self):
        """Queues of the host's tap: virtio has one for each of its own, the others read one."""
        return self.queues if self.device == "virtio-net-pci" else 1

    def arguments(self):
        """QEMU's arguments."""
        many = f",queues={self.taps}" if self.taps > 1 else ""
        switch = "on" if self.vnet_hdr else "off"
        joined = []
        for number, mac in enumerate(JOINED_MACS, 1):
            joined += ["-netdev", f"hubport,hubid=1,id=h{number}", "-device", f"{self.device},netdev=h{number},mac={mac},romfile=,addr={SLOTS[number]:#x}"]
        return [
            "-netdev", f"tap,id=n0,ifname={wire.TAP},script=no,downscript=no,vnet_hdr={switch},vhost=off{many}",
            "-device", f"{self.device},netdev=n0,mac={MAC},romfile=,addr={SLOTS[0]:#x}{self.options}", *joined,
        ]


NICS = [
    Nic("e1000", "e1000", notices=("pseudo-header", "header-length")),
    Nic("e1000e", "e1000e"),
    # QEMU's vmxnet3 delivers everything on its first queue.
    Nic("vmxnet3", "vmxnet3", first_qemu=8, scatters=False, queues=2, rss="unknown"),
    Nic("virtio", "virtio-net-pci", options=",mq=on,vectors=6,rss=on", vnet_hdr=True, puts_together=True, notices=("pseudo-header", "header-length"), queues=2, rss="proven"),
    Nic("igb", "igb", queues=2, rss="proven"),
    Nic("e1000e-vfio", "e1000e", driver="vfio-pci"),
    Nic("vmxnet3-vfio", "vmxnet3", driver="vfio-pci", first_qemu=8, scatters=False),
]
