"""The emulated NICs: QEMU's device, the kernel's driver that leaves it to DPDK, and what is known of the emulation."""

import dataclasses

import wire

MAC = "02:00:00:00:01:01"


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

    @property
    def iommu(self):
        """Whether the machine has an IOMMU."""
        return self.driver == "vfio-pci"

    def arguments(self, queues=1):
        """QEMU's arguments."""
        many = f",queues={queues}" if queues > 1 else ""
        switch = "on" if self.vnet_hdr else "off"
        return [
            "-netdev", f"tap,id=n0,ifname={wire.TAP},script=no,downscript=no,vnet_hdr={switch},vhost=off{many}",
            "-device", f"{self.device},netdev=n0,mac={MAC},romfile={self.options}",
        ]


NICS = [
    Nic("e1000", "e1000"),
    Nic("e1000e", "e1000e"),
    Nic("vmxnet3", "vmxnet3"),
    Nic("virtio", "virtio-net-pci", vnet_hdr=True),
    Nic("e1000e-vfio", "e1000e", driver="vfio-pci"),
    Nic("vmxnet3-vfio", "vmxnet3", driver="vfio-pci"),
]
