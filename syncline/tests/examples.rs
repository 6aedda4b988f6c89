//! The examples on taps, with the kernel as their peer: each in a network namespace of its own.
#![forbid(unsafe_code)]
#![cfg(feature = "dpdk")]

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a machine that is busy may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace, deleted when the test is over.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("sl-{name}-{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self(name);
        run(namespace.command("ip").args(["link", "set", "lo", "up"]));
        namespace
    }

    /// A program inside.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A program that is killed when the test is over.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Ctrl-C; what it prints then, once it has ended well.
    fn end(mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("it runs");
        self.until_it_ends()
    }

    fn until_it_ends(&mut self) -> String {
        let started = Instant::now();
        while self.0.try_wait().expect("a child").is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut text = String::new();
        let mut stdout = self.0.stdout.take().expect("piped");
        stdout.read_to_string(&mut text).expect("text");
        assert!(self.0.wait().expect("a child").success(), "{text}");
        assert!(!text.contains("problem:"), "{text}");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The built example, which cargo puts beside the tests.
fn example(name: &str) -> String {
    let mut target: PathBuf = std::env::current_exe().expect("a path");
    target.pop();
    target.pop();
    let path = target.join("examples").join(name);
    run(Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--offline",
            "-p",
            "syncline",
            "--example",
            name,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    path.to_str().expect("UTF-8").to_owned()
}

/// Python that retries `connect` until the tap is up.
const CONNECT: &str = "
import socket, sys, time, hashlib, random
def connect(address):
    for _ in range(600):
        try:
            return socket.create_connection(address, timeout=60)
        except OSError:
            time.sleep(0.1)
    sys.exit('no connection')
";

mod root_only {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn the_echo_server_returns_two_megabytes_to_the_kernel() {
        let namespace = Namespace::new("echo");
        let server = Running::start(&mut namespace.command(&example("echo")));
        let script = format!(
            "{CONNECT}
import threading
sent = random.Random(1).randbytes(2_000_000)
s = connect(('198.18.0.2', 7))
def send():
    s.sendall(sent); s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = b''
while part := s.recv(65536): got += part
print(got == sent, len(got))"
        );
        let said = run(namespace.command("python3").args(["-c", &script]));
        assert_eq!(said.trim(), "True 2000000");
        let report = server.end();
        assert!(report.contains("open at the end: 0"), "{report}");
        assert!(report.contains("rx_frames"), "{report}");
    }

    #[test]
    #[ignore = "needs root"]
    fn the_proxy_carries_a_file_from_the_kernels_server_to_the_kernels_client() {
        let namespace = Namespace::new("proxy");
        let proxy = Running::start(&mut namespace.command(&example("proxy")));
        let server = format!(
            "{CONNECT}
body = random.Random(2).randbytes(3_000_000)
l = socket.create_server(('0.0.0.0', 8080))
for _ in range(2):
    c, _ = l.accept()
    asked = b''
    while not asked.endswith(b'\\n'): asked += c.recv(100)
    c.sendall(hashlib.sha256(asked).hexdigest().encode() + body); c.shutdown(socket.SHUT_WR)
    while c.recv(100): pass
    c.close()"
        );
        let _server = Running::start(namespace.command("python3").args(["-c", &server]));
        let client = format!(
            "{CONNECT}
body = random.Random(2).randbytes(3_000_000)
for n in range(2):
    s = connect(('198.18.0.2', 80))
    asked = b'please %d\\n' % n
    s.sendall(asked); got = b''
    while part := s.recv(65536): got += part
    s.close()
    print(got == hashlib.sha256(asked).hexdigest().encode() + body)"
        );
        let said = run(namespace.command("python3").args(["-c", &client]));
        assert_eq!(said.trim(), "True\nTrue");
        proxy.end();
    }

    #[test]
    #[ignore = "needs root"]
    fn the_client_hears_what_the_kernels_server_echoes() {
        let namespace = Namespace::new("client");
        let client = example("client");
        let server = "
import socket
c, _ = socket.create_server(('0.0.0.0', 7)).accept()
while word := c.recv(100): c.sendall(word.upper())
print('the client closed', flush=True)";
        let mut server = Running::start(namespace.command("python3").args(["-c", server]));
        let said = Running::start(&mut namespace.command(&client)).until_it_ends();
        assert!(said.starts_with("HELLO\n"), "{said}");
        assert_eq!(server.until_it_ends().trim(), "the client closed");
    }

    #[test]
    #[ignore = "needs root"]
    fn ten_thousand_connections_are_open_at_once_and_all_hear_their_word() {
        let namespace = Namespace::new("clients");
        let clients = example("clients");
        let server = "
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
now, most, served = 0, 0, 0
async def echo(reader, writer):
    global now, most, served
    now += 1; most = max(most, now)
    while word := await reader.read(100):
        writer.write(word); await writer.drain()
    writer.close(); await writer.wait_closed()
    now -= 1; served += 1
async def main():
    server = await asyncio.start_server(echo, '0.0.0.0', 7000, backlog=1024)
    print('listening', flush=True)
    while served < 10_000: await asyncio.sleep(0.05)
    print('at once', most, flush=True)
asyncio.run(main())";
        let mut server = Running::start(namespace.command("python3").args(["-c", server]));
        let report = Running::start(&mut namespace.command(&clients)).until_it_ends();
        assert!(
            report.contains("opened 10000, heard 10000, failed 0"),
            "{report}"
        );
        let said = server.until_it_ends();
        assert!(said.contains("at once 10000"), "{said}");
    }
}
