//! `syncline load` on bad links, with nginx and a Python server as its peers.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{in_namespace, run, syncline};
use crate::{Beside, LINKS, file, scaled};

const KERNEL: &str = "198.18.0.1";
const KERNEL6: &str = "[2001:db8::1]";
const PORT: u16 = 9000;

/// Runs `syncline load` to its end, which must have this status, and returns its result; its accounts add up, and every buffer is
/// back.
fn ended(link: &str, url: &str, flags: &str, status: i32) -> Value {
    let output = syncline()
        .args(["load", url, "--json", "--nic", "tap:dtap0"])
        .args(["--ip", "198.18.0.2/24", "--ip", "2001:db8::2/64"])
        .args(["--tap-up", "198.18.0.1/24", "--tap-up", "2001:db8::1/64"])
        .args(["--fault", link])
        .args(flags.split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{link} {url} {flags}: {error}: {text}{said}"));
    let account = result["account"].as_object().expect("an account");
    for (sum, off_by) in account {
        assert_eq!(off_by, 0, "{sum} of {link} {url} {flags}: {result:#}");
    }
    let ended = output.status.code();
    assert_eq!(
        ended,
        Some(status),
        "{link} {url} {flags}: {said}{result:#}"
    );
    result
}

/// The same of a run that held its gates: every byte that came was right.
fn load(link: &str, url: &str, flags: &str) -> Value {
    ended(link, url, flags, 0)
}

/// `--expect-body` for a file, from a program that shares no code with ours.
fn sha256_of(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum").arg(path).output();
    let text = String::from_utf8(output.expect("coreutils are there").stdout).expect("text");
    let sum = text.split(' ').next().expect("a sum");
    format!("--expect-body sha256:{sum}")
}

fn python_server(bytes: usize) -> Beside {
    let mut command = Command::new("python3");
    command
        .args([&file("server.py"), &PORT.to_string(), &bytes.to_string()])
        .stdout(Stdio::piped());
    let mut server = Beside::start(&mut command);
    let stdout = server.0.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("text");
    assert_eq!(line, "ready\n");
    server
}

/// nginx with a directory of its own; the pattern of RFC 864 is in the file `large`, its first byte in `small`.
struct Nginx {
    directory: std::path::PathBuf,
    _server: Beside,
}

impl Nginx {
    fn start(bytes: usize) -> Self {
        let directory = std::env::temp_dir().join(format!("syncline-nginx-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut pattern = vec![0; bytes];
        stack::queue::pattern::fill(0, &mut pattern);
        std::fs::write(directory.join("large"), &pattern).expect("room");
        std::fs::write(directory.join("small"), &pattern[..1]).expect("room");
        let place = directory.display();
        let config = format!(
            "daemon off; master_process off; user root; pid {place}/pid; error_log {place}/error;\n\
             events {{ worker_connections 2048; }}\n\
             http {{ access_log off; client_body_temp_path {place}/t1; proxy_temp_path {place}/t2;\n\
             fastcgi_temp_path {place}/t3; uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;\n\
             server {{ listen 0.0.0.0:{PORT}; listen [::]:{PORT} ipv6only=on; root {place}; }} }}\n"
        );
        std::fs::write(directory.join("conf"), config).expect("room");
        let server = Beside::start(
            Command::new("nginx")
                .arg("-p")
                .arg(&directory)
                .arg("-c")
                .arg(directory.join("conf"))
                .stderr(Stdio::null()),
        );
        let started = Instant::now();
        run("ip link set lo up");
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "nginx did not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            directory,
            _server: server,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
#[ignore = "needs root"]
fn nginx_answers_our_requests() {
    for link in LINKS {
        in_namespace(move || {
            let nginx = Nginx::start(scaled(link, 4_000_000));
            let connect = "--workload connect --close peer --timeout 120s -d 120s";
            let large = sha256_of(&nginx.directory.join("large"));
            for host in [KERNEL, KERNEL6] {
                let url = format!("http://{host}:{PORT}/large");
                let result = load(link, &url, &format!("{connect} -n 1 {large}"));
                assert_eq!(result["operations"]["completed"], 1, "{result:#}");
            }
            let small = sha256_of(&nginx.directory.join("small"));
            let url = format!("http://{KERNEL}:{PORT}/small");
            let result = load(link, &url, &format!("{connect} -n 500 -c 50 {small}"));
            assert_eq!(result["operations"]["completed"], 500, "{result:#}");
            assert_eq!(result["connections"]["closed"], 500, "{result:#}");
        });
    }
}

/// Bytes go both ways until we close our direction, with much on its way; the echo ends with the server's FIN.
#[test]
#[ignore = "needs root"]
fn a_python_server_echoes_what_we_sent_before_our_fin() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(0);
            for (host, connections) in [(KERNEL, 1), (KERNEL6, 20)] {
                let url = format!("tcp://{host}:{PORT}");
                let flags = format!(
                    "--workload stream --direction both --expect-pattern -d 2s -c {connections}"
                );
                let result = load(link, &url, &flags);
                assert_eq!(
                    result["connections"]["established"], connections,
                    "{result:#}"
                );
                // A connection whose end is lost again and again is reset in the end, and its last bytes are not counted.
                if result["connections"]["reset_by_us"] == 0 {
                    assert_eq!(result["bytes_in"], result["bytes_out"], "{result:#}");
                }
                assert!(result["bytes_in"].as_u64() > Some(0), "{result:#}");
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_python_server_sends_and_closes_first() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(scaled(link, 1_000_000));
            let url = format!("tcp://{KERNEL}:{}", PORT + 1);
            let flags = "--workload stream --direction down --expect-pattern -d 4s";
            let result = load(link, &url, flags);
            assert!(
                result["stream"]["transfers"].as_u64() > Some(0),
                "{result:#}"
            );
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_server_that_closes_with_unread_data_resets_us() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(0);
            let url = format!("tcp://{KERNEL}:{}", PORT + 2);
            // With 5 % loss each way one handshake in a thousand needs its fourth SYN, after 7 s.
            let flags = "--workload connect --send 0123456789 --expect never -n 10 -c 10 --timeout 10s -d 30s";
            let result = ended(link, &url, flags, 1);
            assert_eq!(result["connections"]["established"], 10, "{result:#}");
            // A reset that is lost isn't sent again: we have nothing more to say.
            let by = |fault: &str| {
                result["operations"]["failed_by"][fault]
                    .as_u64()
                    .unwrap_or(0)
            };
            let silent = by("timed_out") + by("no_reply");
            assert_eq!(by("reset") + silent, 10, "{result:#}");
            assert!(
                by("reset") >= if link == LINKS[0] { 10 } else { 5 },
                "{result:#}"
            );
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_server_that_never_reads_gets_probes_and_one_that_never_accepts_is_connected_to() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(0);
            let url = |port: u16| format!("tcp://{KERNEL}:{port}");
            let flags = "--workload stream --direction up -d 6s";
            let result = load(link, &url(PORT + 3), flags);
            assert_eq!(result["connections"]["established"], 1, "{result:#}");
            assert!(
                result["tcp"]["window_probes_sent"].as_u64() > Some(1),
                "{result:#}"
            );
            // Our FIN waits behind bytes that the window has no room for: only a reset ends this.
            assert_eq!(result["connections"]["reset_by_us"], 1, "{result:#}");
            let result = load(link, &url(PORT + 4), "--workload hold -c 1 -d 1s");
            assert_eq!(result["hold"]["least"], 1, "{result:#}");
            let flags = "--workload connect -n 1 -c 1 -d 20s";
            // Refused is not success.
            let result = ended(link, &url(1), flags, 1);
            assert_eq!(
                result["operations"]["failed_by"]["refused"], 1,
                "{result:#}"
            );
        });
    }
}
