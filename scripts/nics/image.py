"""The guest: a Debian kernel and an initramfs that holds busybox, the binary, its libraries and DPDK's drivers.

It must never change the machine: packages are unpacked below target/nics, and the initramfs is written there.
"""

import glob
import lzma
import os
import re
import shutil
import subprocess

SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
DRIVERS = ("bus_pci", "bus_vdev", "mempool_ring", "net_e1000", "net_vmxnet3", "net_virtio")
# In the order in which they load. What is built into a kernel, or gone from newer ones, is left out.
MODULES = ("uio", "uio_pci_generic", "irqbypass", "iommufd", "vfio_virqfd", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci", "vmxnet3")

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/hugepages /dev/pts
mount -t hugetlbfs hugetlbfs /dev/hugepages
mount -t tmpfs tmpfs /tmp
for module in $(cat /modules/order); do insmod /modules/$module.ko 2>/dev/null; done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
echo guest-ready
# Not `sh` on the terminal: it would print prompts.
while IFS= read -r line; do eval "$line"; done
"""


class Missing(Exception):
    """Something that the guests need can't be had here: the reason."""


def _run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Missing(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def unpacked_kernel(work):
    """The directory of Debian's cloud kernel, fetched and unpacked once."""
    directory = f"{work}/kernel"
    if not glob.glob(f"{directory}/boot/vmlinuz-*"):
        depends = _run("apt-cache", "depends", "linux-image-cloud-amd64")
        name = re.search(r"Depends: (linux-image-\S+)", depends)
        if name is None:
            raise Missing("apt knows no linux-image-cloud-amd64: apt-get update")
        packages = f"{work}/packages"
        os.makedirs(packages, exist_ok=True)
        _run("apt-get", "-q", "download", name[1], cwd=packages)
        fresh = f"{directory}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _run("dpkg", "-x", glob.glob(f"{packages}/{name[1]}_*.deb")[0], fresh)
        shutil.rmtree(directory, ignore_errors=True)
        os.rename(fresh, directory)
    return directory


def backported_qemu(work):
    """The directory of a QEMU from Debian's backports, for the release that has an older one; fetched and unpacked once."""
    with open("/etc/os-release") as file:
        release = dict(line.rstrip().split("=", 1) for line in file if "=" in line).get("VERSION_CODENAME")
    directory = f"{work}/qemu-{release}-backports"
    if not os.path.exists(directory):
        fresh, lists, source = f"{directory}.new", f"{work}/lists", f"{work}/backports.list"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(f"{lists}/partial", exist_ok=True)
        os.makedirs(fresh)
        with open(source, "w") as file:
            file.write(f"deb http://deb.debian.org/debian {release}-backports main\n")
        # Lists of its own: the machine's stay as they are.
        apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-",
               "-o", f"Dir::State::lists={lists}"]
        _run(*apt, "update")
        _run(*apt, "download", "qemu-system-x86", "qemu-system-data", "seabios", cwd=fresh)
        for package in glob.glob(f"{fresh}/*.deb"):
            _run("dpkg", "-x", package, fresh)
            os.unlink(package)
        os.rename(fresh, directory)
    return directory


def _copy_modules(kernel, tree):
    os.makedirs(f"{tree}/modules")
    order = []
    for name in MODULES:
        found = glob.glob(f"{kernel}/lib/modules/*/kernel/**/{name}.ko*", recursive=True)
        found += glob.glob(f"{kernel}/usr/lib/modules/*/kernel/**/{name}.ko*", recursive=True)
        if not found:
            continue
        with (lzma.open if found[0].endswith(".xz") else open)(found[0], "rb") as module:
            content = module.read()
        with open(f"{tree}/modules/{name}.ko", "wb") as file:
            file.write(content)
        order.append(name)
    with open(f"{tree}/modules/order", "w") as file:
        file.write("\n".join(order))


def _copy_libraries(of, tree):
    """The libraries that the files `of` need, under the names by which they are asked for."""
    for line in _run("ldd", *of).splitlines():
        found = re.match(r"\s*(?:(\S+) => )?(/\S+) \(", line)
        if found:
            path = found[2]
            into = f"{tree}/lib64" if "ld-linux" in path else f"{tree}{LIBRARIES}"
            name = os.path.basename(found[1] or path)
            # A driver that was copied to the others is the same file here too: loaded twice, it would register twice.
            twin = glob.glob(f"{tree}{LIBRARIES}/dpdk/pmds-*/{os.path.basename(os.path.realpath(path))}")
            if os.path.lexists(f"{into}/{name}"):
                continue
            if twin:
                os.symlink(os.path.relpath(twin[0], into), f"{into}/{name}")
            else:
                shutil.copy(path, f"{into}/{name}")


def _copy_drivers(tree):
    plugins = glob.glob(f"{LIBRARIES}/dpdk/pmds-*")
    if not plugins:
        raise Missing(f"{LIBRARIES}/dpdk holds no drivers: scripts/setup installs them")
    os.makedirs(f"{tree}{plugins[0]}")
    # EAL takes only names that end in the whole version: librte_net_e1000.so.23.0.
    version = plugins[0].rsplit("-", 1)[1]
    files = [f"{plugins[0]}/librte_{name}.so.{version}" for name in DRIVERS]
    for file in files:
        shutil.copy(file, f"{tree}{plugins[0]}")
    _copy_libraries(files, tree)


def initramfs(work, binary, kernel):
    """Writes the initramfs and returns its path."""
    tree = f"{work}/tree"
    shutil.rmtree(tree, ignore_errors=True)
    for directory in ("bin", "lib64", "dev", "proc", "sys", "tmp", "run", "var/run", "etc", LIBRARIES[1:]):
        os.makedirs(f"{tree}/{directory}")
    os.symlink("usr/lib", f"{tree}/lib")
    shutil.copy("/bin/busybox", f"{tree}/bin/busybox")
    for name in subprocess.check_output(["/bin/busybox", "--list"], text=True).split():
        if name != "busybox":
            os.symlink("busybox", f"{tree}/bin/{name}")
    _run("strip", "-o", f"{tree}/bin/syncline", binary)
    _copy_drivers(tree)
    shutil.copy("/bin/bash", f"{tree}/bin/bash")
    _copy_libraries([binary, "/bin/bash"], tree)
    os.makedirs(f"{tree}/scripts/lib")
    for script in "bind-nic", "lib/say.sh":
        shutil.copy(f"{SCRIPTS}/{script}", f"{tree}/scripts/{script}")
    # What env(1) finds in the first line of a script.
    os.makedirs(f"{tree}/usr/bin")
    os.symlink("/bin/env", f"{tree}/usr/bin/env")
    _copy_modules(kernel, tree)
    with open(f"{tree}/init", "w") as init:
        init.write(INIT)
    os.chmod(f"{tree}/init", 0o755)
    image = f"{work}/initramfs.{os.getpid()}"
    _run("sh", "-c", f"cd {tree} && find . | cpio --quiet -o -H newc >{image}")
    shutil.rmtree(tree)
    return image
