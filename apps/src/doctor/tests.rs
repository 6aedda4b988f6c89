//! Faults planted into the files of a machine, one at a time: each is found, with its fix; a machine without one has none.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::checks;
use super::finding::{Finding, Level, Report};
use super::machine::Machine;
use super::request::Request;

const NIC: &str = "0000:3b:00.0";
const SERVE: &str = "serve --nic pci:0000:3b:00.0 --ip 198.18.0.2/24 --cpus 2,4";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The files of a machine with two sockets, eight CPUs and two NICs, on which nothing is wrong.
struct Planted {
    root: PathBuf,
}

impl Planted {
    fn healthy() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("syncline-doctor-{}-{number}", std::process::id());
        let machine = Self {
            root: std::env::temp_dir().join(name),
        };
        machine.has_cpus();
        machine.has_memory();
        machine.has_nics();
        machine.has_kernel();
        machine
    }

    fn has_cpus(&self) {
        self.file("sys/devices/system/cpu/online", "0-7");
        self.file("sys/devices/system/cpu/isolated", "2-7");
        let flags = "fpu ssse3 sse4_1 sse4_2 popcnt avx2 constant_tsc nonstop_tsc";
        let cpu = format!("processor\t: 0\nmodel name\t: one\nflags\t\t: {flags}\n\n");
        self.file("proc/cpuinfo", &cpu);
        for cpu in 0..8 {
            // CPUs 0 and 1, 2 and 3, … are the threads of one core; the first four are on node 0.
            let core = cpu / 2 * 2;
            let directory = format!("sys/devices/system/cpu/cpu{cpu}");
            let siblings = format!("{directory}/topology/thread_siblings_list");
            self.file(&siblings, &format!("{core}-{}", core + 1));
            self.file(
                &format!("{directory}/cpufreq/scaling_governor"),
                "performance",
            );
        }
        self.file("sys/devices/system/node/node0/cpulist", "0-5");
        self.file("sys/devices/system/node/node1/cpulist", "6-7");
    }

    fn has_memory(&self) {
        self.hugepages(0, 512, 512);
        self.hugepages(1, 0, 0);
        self.file(
            "proc/mounts",
            "hugetlbfs /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n",
        );
        self.file("dev/hugepages/.keep", "");
    }

    fn hugepages(&self, node: u32, pages: u32, free: u32) {
        let directory = format!("sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
        self.file(&format!("{directory}/nr_hugepages"), &pages.to_string());
        self.file(&format!("{directory}/free_hugepages"), &free.to_string());
    }

    fn has_nics(&self) {
        let nic = format!("sys/bus/pci/devices/{NIC}");
        for (file, text) in [
            ("class", "0x020000"),
            ("vendor", "0x8086"),
            ("device", "0x1592"),
            ("subsystem_vendor", "0x8086"),
            ("subsystem_device", "0x0002"),
            ("numa_node", "0"),
        ] {
            self.file(&format!("{nic}/{file}"), text);
        }
        self.bind(NIC, "vfio-pci");
        self.file("sys/kernel/iommu_groups/7/type", "DMA");
        self.link(
            &format!("{nic}/iommu_group"),
            "../../../../kernel/iommu_groups/7",
        );
        self.file("dev/vfio/7", "");
        let other = "sys/bus/pci/devices/0000:01:00.0";
        self.file(&format!("{other}/class"), "0x020000");
        self.file(&format!("{other}/net/eth0/.keep"), "");
        self.bind("0000:01:00.0", "ixgbe");
        self.file("sys/class/net/eth0/carrier", "1");
        let plugins = "usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0";
        for (name, ids) in [
            ("net_ice", "[[32902, 5522, 65535, 65535]]"),
            ("net_tap", "[]"),
            ("net_memif", "[]"),
        ] {
            let info = format!("\0PMD_INFO_STRING= {{\"name\": \"{name}\", \"pci_ids\": {ids}}}\0");
            self.file(&format!("{plugins}/librte_{name}.so.23.0"), &info);
        }
    }

    fn has_kernel(&self) {
        let route = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        self.file("proc/net/route", route);
        let tree = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.7\n        /32 host LOCAL\n";
        self.file("proc/net/fib_trie", tree);
        self.file("dev/net/tun", "");
        self.file("proc/sys/user/max_user_namespaces", "15000");
        self.runs_as(0, "000001ffffffffff");
    }

    fn runs_as(&self, user: u32, capabilities: &str) {
        // The format of this file in procfs; see proc(5).
        let ids = format!("{user}\t{user}\t{user}\t{user}");
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let lines = own
            .lines()
            .map(|line| match line.split_once(':').unwrap().0 {
                "Uid" => format!("Uid:\t{ids}\n"),
                "Gid" => format!("Gid:\t{ids}\n"),
                "Groups" => "Groups:\t\n".to_owned(),
                "CapEff" => format!("CapEff:\t{capabilities}\n"),
                _ => format!("{line}\n"),
            });
        self.file("proc/self/status", &lines.collect::<String>());
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.root.join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn bind(&self, address: &str, driver: &str) {
        let target = format!("../../../../bus/pci/drivers/{driver}");
        self.link(&format!("sys/bus/pci/devices/{address}/driver"), &target);
    }

    fn findings(&self, command: &str) -> Vec<Finding> {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let request = Request::of(&words).expect("a command");
        checks::all(&Machine::new(&self.root), request.as_ref())
    }

    /// The one finding of that level, which must be found by `check` and say `text` and `fix`.
    fn finds(&self, command: &str, level: Level, (check, text, fix): (&str, &str, &str)) {
        let findings = self.findings(command);
        let all: Vec<&Finding> = findings
            .iter()
            .filter(|finding| finding.level >= Level::Warning)
            .collect();
        let [found] = all[..] else {
            panic!("{text}: {all:#?}");
        };
        assert_eq!((found.check, found.level), (check, level), "{found:?}");
        assert!(found.text.contains(text), "{text}: {found:?}");
        assert!(
            found.fix.iter().any(|found| found.contains(fix)),
            "{fix}: {found:?}"
        );
        let report = Report::new(None, findings);
        assert_eq!(report.gate().is_err(), level == Level::Fault);
        assert!(report.to_string().contains("fix: "), "{report}");
    }

    fn fault(&self, command: &str, expected: (&str, &str, &str)) {
        self.finds(command, Level::Fault, expected);
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn nothing_is_wrong_with_a_healthy_machine() {
    let machine = Planted::healthy();
    for command in ["", SERVE, "serve --nic tap:dtap0 --ip 198.18.0.2/24"] {
        let findings = machine.findings(command);
        let wrong: Vec<_> = findings
            .iter()
            .filter(|found| found.level >= Level::Warning)
            .collect();
        assert!(wrong.is_empty(), "{command}: {wrong:#?}");
        assert!(
            findings
                .iter()
                .any(|found| found.text.contains("default route"))
        );
    }
}

#[test]
fn a_load_and_a_flood_are_checked_like_a_server() {
    let machine = Planted::healthy();
    let load = format!("load http://198.18.0.1/ --nic pci:{NIC} --ip 198.18.0.2/24 -c 50");
    let flood = format!(
        "flood 198.18.0.1:80 --nic pci:{NIC} --ip 198.18.0.2/24 --allow-target 198.18.0.1/32"
    );
    for command in [&load, &flood] {
        let findings = machine.findings(command);
        let wrong = findings.iter().find(|found| found.level >= Level::Warning);
        assert_eq!(wrong, None, "{command}");
        machine.bind(NIC, "ice");
        machine.fault(command, ("nics", "bound to the kernel's ice", "bind-nic"));
        machine.bind(NIC, "uio_pci_generic");
        machine.hugepages(0, 1, 1);
        machine.fault(command, ("hugepages", "this command needs", "nr_hugepages"));
        machine.hugepages(0, 512, 512);
        machine.bind(NIC, "vfio-pci");
    }
}

#[test]
fn a_target_that_no_link_and_no_router_leads_to_is_found() {
    let machine = Planted::healthy();
    let load = |more: &str| {
        format!(
            "load http://192.0.2.99/ --nic pci:{NIC} --ip 198.18.0.2/24 --allow-target 192.0.2.99/32 {more}"
        )
    };
    machine.fault(
        &load(""),
        ("targets", "192.0.2.99 is on no link", "give --gateway"),
    );
    let routed = machine.findings(&load("--gateway 198.18.0.1"));
    assert!(
        routed.iter().all(|found| found.level < Level::Warning),
        "{routed:#?}"
    );
    let head = "IP address       HW type     Flags       HW address            Mask     Device\n";
    let silent = "198.18.0.1       0x1         0x0         00:00:00:00:00:00     *        eth1\n";
    machine.file("proc/net/arp", &format!("{head}{silent}"));
    machine.finds(
        &format!("load http://198.18.0.1/ --nic pci:{NIC} --ip 198.18.0.2/24"),
        Level::Warning,
        ("targets", "198.18.0.1 does not answer ARP", "arping"),
    );
}

#[test]
fn missing_hugepages_are_found() {
    let machine = Planted::healthy();
    machine.bind(NIC, "uio_pci_generic");
    machine.hugepages(0, 0, 0);
    machine.fault(
        SERVE,
        (
            "hugepages",
            "no hugepages are free",
            "> /sys/devices/system/node/node0/hugepages",
        ),
    );
    machine.hugepages(0, 20, 10);
    machine.fault(
        SERVE,
        ("hugepages", "20 MB of hugepages are free", "nr_hugepages"),
    );
    machine.hugepages(0, 512, 512);
    machine.file("proc/mounts", "proc /proc proc rw 0 0\n");
    machine.fault(
        SERVE,
        (
            "hugepages",
            "hugetlbfs is not mounted",
            "mount -t hugetlbfs",
        ),
    );
}

#[test]
fn a_nic_of_the_kernel_is_found() {
    let machine = Planted::healthy();
    machine.bind(NIC, "ice");
    machine.fault(
        SERVE,
        (
            "nics",
            "bound to the kernel's ice",
            "scripts/bind-nic --driver vfio-pci",
        ),
    );
    machine.remove(&format!("sys/bus/pci/devices/{NIC}/driver"));
    machine.fault(SERVE, ("nics", "has no driver", "scripts/bind-nic"));
}

#[test]
fn the_interface_of_the_default_route_is_not_touched() {
    let machine = Planted::healthy();
    machine.file(&format!("sys/bus/pci/devices/{NIC}/net/eth0/.keep"), "");
    machine.bind(NIC, "ice");
    machine.fault(
        SERVE,
        ("nics", "would cut this machine off", "name another NIC"),
    );
}

#[test]
fn a_nic_that_is_not_there_is_found() {
    let machine = Planted::healthy();
    let command = "serve --nic pci:0000:5e:00.1 --ip 198.18.0.2/24";
    machine.fault(command, ("nics", "no NIC 0000:5e:00.1", "lspci -D"));
}

#[test]
fn a_missing_driver_is_found() {
    let machine = Planted::healthy();
    let plugins = "usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0";
    machine.remove(&format!("{plugins}/librte_net_ice.so.23.0"));
    machine.fault(
        SERVE,
        (
            "drivers",
            "no installed driver of DPDK knows",
            "apt-get install",
        ),
    );
    machine.remove(&format!("{plugins}/librte_net_tap.so.23.0"));
    let tap = "serve --nic tap:dtap0 --ip 198.18.0.2/24";
    machine.fault(
        tap,
        (
            "drivers",
            "net_tap is not among",
            "apt-get install librte-net-tap",
        ),
    );
    machine.remove(plugins);
    machine.fault(
        tap,
        (
            "drivers",
            "no directory of DPDK's drivers",
            "apt-get install dpdk",
        ),
    );
}

#[test]
fn a_missing_iommu_is_found() {
    let machine = Planted::healthy();
    machine.remove("sys/kernel/iommu_groups");
    machine.remove(&format!("sys/bus/pci/devices/{NIC}/iommu_group"));
    machine.fault(SERVE, ("iommu", "which needs one", "intel_iommu=on"));
}

#[test]
fn missing_permissions_are_found() {
    let machine = Planted::healthy();
    machine.runs_as(12345, "0000000000000000");
    machine.mode("dev/vfio/7", 0o444);
    machine.fault(
        SERVE,
        ("nics", "no permission to write to /dev/vfio/7", "chown"),
    );
    let tap = "serve --nic tap:dtap0 --ip 198.18.0.2/24";
    machine.mode("dev/net/tun", 0o444);
    machine.fault(
        tap,
        ("taps", "no permission to write to /dev/net/tun", "chmod"),
    );
    machine.mode("dev/net/tun", 0o666);
    machine.fault(tap, ("taps", "needs CAP_NET_ADMIN", "--unshare"));
    machine.file("proc/sys/user/max_user_namespaces", "0");
    machine.fault(
        tap,
        (
            "taps",
            "no user namespaces",
            "sysctl -w user.max_user_namespaces",
        ),
    );
    machine.remove("dev/net/tun");
    machine.fault(tap, ("taps", "there is no /dev/net/tun", "modprobe tun"));
}

#[test]
fn an_address_of_the_kernel_is_found() {
    let machine = Planted::healthy();
    let command = "serve --nic tap:dtap0 --ip 192.0.2.7/24";
    machine.fault(
        command,
        ("addresses", "the kernel owns 192.0.2.7", "another address"),
    );
    machine.file(
        "proc/net/if_inet6",
        "20010db8000000000000000000000002 04 40 00 80     eth0\n",
    );
    let command = "serve --nic tap:dtap0 --ip 2001:db8::2/64";
    machine.fault(
        command,
        ("addresses", "the kernel owns 2001:db8::2", "ip addr del"),
    );
}

#[test]
fn the_nic_of_diagnose_is_checked() {
    let machine = Planted::healthy();
    let command = |nic| {
        format!(
            "diagnose 198.18.0.1:80 --nic {nic} --ip 198.18.0.2/24 --allow-target 198.18.0.1/32"
        )
    };
    machine.file("run/.keep", "");
    machine.fault(
        &command("memif:/run/other.sock"),
        ("memif", "no server listens", "start the other side"),
    );
    machine.remove("dev/net/tun");
    machine.fault(
        &command("tap:dtap0"),
        ("taps", "there is no /dev/net/tun", "modprobe tun"),
    );
    let words = ["diagnose", "198.18.0.1:80"].map(str::to_owned);
    let error = Request::of(&words).expect_err("no NIC").to_string();
    assert!(error.contains("only with HOST:PORT and --nic"), "{error}");
}

#[test]
fn a_taken_or_absent_memif_socket_is_found() {
    let machine = Planted::healthy();
    let taken = "Num RefCount Protocol Flags Type St Inode Path\n\
                 0000000000000000: 00000002 00000000 00010000 0005 01 12345 /run/m.sock\n";
    machine.file("proc/net/unix", taken);
    machine.file("run/.keep", "");
    let serve = |nic| format!("serve --nic {nic} --ip 198.18.0.2/24");
    machine.fault(
        &serve("memif:/run/m.sock,server"),
        ("memif", "another server listens", "ss -xlp"),
    );
    machine.fault(
        &serve("memif:/run/other.sock"),
        ("memif", "no server listens", "start the other side"),
    );
    machine.fault(
        &serve("memif:/nowhere/m.sock,server"),
        ("memif", "no directory", "mkdir -p /nowhere"),
    );
}

#[test]
fn cpus_that_are_badly_chosen_are_found() {
    let machine = Planted::healthy();
    let on = |cpus| format!("serve --nic pci:{NIC} --ip 198.18.0.2/24 --cpus {cpus}");
    machine.finds(
        &on("2,3"),
        Level::Warning,
        ("cpus", "SMT siblings", "CPUs of other cores are"),
    );
    machine.finds(
        &on("2,6"),
        Level::Warning,
        ("cpus", "is on NUMA node 0", "take CPUs of node 0"),
    );
    machine.fault(
        &on("2,9"),
        ("cpus", "CPU 9, which is not online", "cpu9/online"),
    );
    machine.file(
        "sys/devices/system/cpu/cpu4/cpufreq/scaling_governor",
        "powersave",
    );
    machine.finds(
        &on("2,4"),
        Level::Warning,
        ("cpus", "`powersave`", "echo performance"),
    );
}

#[test]
fn a_cpu_that_lacks_something_is_found() {
    let machine = Planted::healthy();
    machine.file(
        "proc/cpuinfo",
        "processor\t: 0\nflags\t\t: fpu ssse3 constant_tsc nonstop_tsc\n\n",
    );
    machine.fault("", ("cpus", "no sse4_1, sse4_2, popcnt", "-cpu host"));
    machine.file(
        "proc/cpuinfo",
        "processor\t: 0\nflags\t\t: ssse3 sse4_1 sse4_2 popcnt\n\n",
    );
    machine.finds(
        "",
        Level::Warning,
        ("cpus", "constant_tsc, nonstop_tsc", "invtsc"),
    );
}

#[test]
fn a_gateway_that_does_not_answer_is_found() {
    let machine = Planted::healthy();
    let serve = |gateway| format!("serve --nic tap:dtap0 --ip 198.18.0.2/24 --gateway {gateway}");
    let head = "IP address       HW type     Flags       HW address            Mask     Device\n";
    let entry = |flags| {
        format!(
            "{head}198.18.0.1       0x1         {flags}         00:00:00:00:00:00     *        eth1\n"
        )
    };
    machine.file("proc/net/arp", &entry("0x0"));
    machine.finds(
        &serve("198.18.0.1"),
        Level::Warning,
        ("gateway", "does not answer ARP", "arping"),
    );
    machine.file("proc/net/arp", &entry("0x2"));
    let findings = machine.findings(&serve("198.18.0.1"));
    assert!(
        findings
            .iter()
            .any(|found| found.text.contains("has answered the kernel's ARP"))
    );
}
