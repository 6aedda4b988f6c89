//! VLANs, with the kernel as the far end in each: what `--vlan` takes, that a connection stays in its VLAN, and that the rest is
//! dropped under a name.
//!
//! Kernels without 802.1Q do as well: `trunk.py` puts one tap for each VLAN, in a network namespace of its own, behind ours, and
//! tags what passes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal::SIGINT;

use crate::server::{Server, counter, in_namespace, run};

/// A network namespace with one tap, on which the kernel has the same addresses as in all others. It goes with its only
/// process.
struct Far {
    process: Child,
}

impl Far {
    fn with(tap: &str) -> Self {
        let process = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn();
        let mut far = Self {
            process: process.expect("util-linux is there"),
        };
        await_ready(&mut far.process);
        run(&format!("ip link set dev {tap} netns {}", far.process.id()));
        far.run(&format!("ip addr add 198.18.0.1/24 dev {tap}"));
        far.run(&format!("ip addr add 2001:db8::1/64 dev {tap} nodad"));
        far.run(&format!("ip link set dev {tap} up"));
        far
    }

    /// A command there.
    fn command(&self, command: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net=/proc/{}/ns/net", self.process.id()));
        nsenter.args(command.split(' '));
        nsenter
    }

    /// A program that must succeed there; what it said.
    fn run(&self, command: &str) -> String {
        let output = self.command(command).output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        said
    }

    fn fails(&self, command: &str) {
        let output = self.command(command).output().expect("it runs");
        assert!(!output.status.success(), "{command}: {output:?}");
    }

    /// A client from port 40000 that starts to echo, keeps its connection open until its stdin is closed, and echoes again.
    fn client(&self, text: &str) -> Child {
        let script = "import socket, sys\n\
            s = socket.create_connection(('198.18.0.2', 7), 20, ('198.18.0.1', 40000))\n\
            def echo(text):\n\
            \x20   s.sendall(text)\n\
            \x20   back = b''\n\
            \x20   while len(back) < len(text): back += s.recv(65536)\n\
            \x20   assert back == text, back\n\
            echo(sys.argv[1].encode())\n\
            print('ready', flush=True)\n\
            sys.stdin.read()\n\
            echo(sys.argv[1].encode() * 1000)\n\
            s.shutdown(socket.SHUT_WR)\n\
            assert s.recv(1) == b''\n";
        let mut client = self.command("python3 -c");
        client.arg(script).arg(text);
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there")
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A trunk, until the test is over.
struct Trunk(Child);

impl Trunk {
    fn start(places: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/trunk.py");
        let child = Command::new("python3")
            .args([script, "dtap0"])
            .args(places)
            .stdout(Stdio::piped())
            .spawn();
        let mut trunk = Self(child.expect("python3 is there"));
        await_ready(&mut trunk.0);
        trunk
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn await_ready(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe"))
        .read_line(&mut line)
        .expect("text");
    assert_eq!(line, "ready\n");
}

/// A server on these VLANs, and the kernel in 5, 6 and 7.
fn with_far_ends(vlans: &[&str], test: impl FnOnce([Far; 3], Server) + Send + 'static) {
    let flags = [
        vlans,
        &[
            "--listen",
            "7=echo",
            "--listen",
            "80=http,size=100k,idle=3s",
        ],
    ]
    .concat();
    let flags: Vec<String> = flags.into_iter().map(ToOwned::to_owned).collect();
    in_namespace(move || {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::alone(&flags);
        run("ip link set dev dtap0 up");
        let _trunk = Trunk::start(&["5:k5", "6:k6", "7:k7"]);
        test(["k5", "k6", "k7"].map(Far::with), server);
    });
}

#[test]
#[ignore = "needs root"]
fn each_vlan_of_ours_is_a_network_of_its_own_and_others_are_dropped_by_name() {
    with_far_ends(&["--vlan", "5,6"], |[five, six, seven], server| {
        for far in [&five, &six] {
            far.run("ping -c 3 -i 0.2 -W 5 198.18.0.2");
            far.run("ping -6 -c 3 -i 0.2 -W 5 2001:db8::2");
            for url in ["http://198.18.0.2/", "http://[2001:db8::2]/"] {
                let size = far.run(&format!(
                    "curl -sS -g -m 20 -o /dev/null -w %{{size_download}} {url}"
                ));
                assert_eq!(size, "100000");
            }
        }
        seven.fails("ping -c 2 -i 0.2 -W 1 198.18.0.2");
        seven.fails("curl -sS -m 2 http://198.18.0.2/");
        // One tuple, two connections at the same time.
        let mut clients = [five.client("five"), six.client("six")];
        clients.iter_mut().for_each(await_ready);
        for mut client in clients {
            drop(client.stdin.take());
            assert!(client.wait().expect("it was started").success());
        }
        let summary = server.stop(SIGINT);
        assert!(counter(&summary, "not_our_vlan") > 0, "{summary}");
        assert_eq!(counter(&summary, "echo_answered"), 12, "{summary}");
        assert_eq!(counter(&summary, "rst_sent"), 0, "{summary}");
        assert_eq!(counter(&summary, "tx_neighbor_dropped"), 0, "{summary}");
    });
}

/// Nothing was heard for three seconds, the connection is parked for two of them, and the server leaves.
#[test]
#[ignore = "needs root"]
fn the_fin_after_parking_arrives_in_its_vlan() {
    with_far_ends(&[], |[five, ..], server| {
        let script = "import socket\n\
            s = socket.create_connection(('198.18.0.2', 80), 20)\n\
            s.sendall(b'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')\n\
            s.settimeout(10)\n\
            got = 0\n\
            while True:\n\
            \x20   data = s.recv(65536)\n\
            \x20   if not data: break\n\
            \x20   got += len(data)\n\
            assert got > 100000, got\n";
        let mut client = five.command("python3 -c");
        let output = client.arg(script).output().expect("python3 is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let summary = server.stop(SIGINT);
        assert_eq!(counter(&summary, "connections_parked"), 1, "{summary}");
        assert_eq!(counter(&summary, "not_our_vlan"), 0, "{summary}");
    });
}

/// The kernel's side of a VLAN is an interface of its own; where the kernel has none of those, it says so.
#[test]
#[ignore = "needs root"]
fn tap_up_sets_up_the_interface_of_the_vlan_or_names_the_module() {
    in_namespace(|| {
        let mut child = crate::server::syncline()
            .args(["serve", "--nic", "tap:dtap0", "--ip", "198.18.0.2/24"])
            .args([
                "--tap-up",
                "198.18.0.1/24",
                "--vlan",
                "5",
                "--duration",
                "8s",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains("tap:dtap0: ") && log.read_line(&mut said).expect("text") > 0 {}
        if said.contains("tap:dtap0: ") {
            run("ping -c 3 -i 0.2 -W 5 -I dtap0.5 198.18.0.2");
        } else {
            assert!(said.contains("load the module 8021q"), "{said}");
        }
        log.read_to_string(&mut said).expect("text");
        child.wait().expect("it was started");
    });
}
