//! `syncline dev-client`, with nginx and a Python server as its peers.

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

/// Runs `syncline dev-client` to its end; it has checked every byte that came, and every buffer is back.
fn client(link: &str, to: &str, flags: &str) -> Value {
    let output = syncline()
        .args([
            "dev-client",
            "--json",
            "--nic",
            "tap:dtap0",
            "--rto-min",
            "200ms",
        ])
        .args(["--ip", "198.18.0.2/24", "--ip", "2001:db8::2/64"])
        .args(["--tap-up", "198.18.0.1/24", "--tap-up", "2001:db8::1/64"])
        .args(["--fault", link, "--to", to])
        .args(flags.split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{link} {to} {flags}: {said}{text}");
    let outcome: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
    assert_eq!(outcome["mbufs_in_use"], 0, "{text}");
    assert_eq!(outcome["unaccounted"], 0, "{text}");
    outcome
}

/// All connections went as they should.
fn all_complete(outcome: &Value) {
    assert_eq!(outcome["complete"], outcome["connections"], "{outcome:#}");
    assert_eq!(
        outcome["endings"]["graceful"], outcome["connections"],
        "{outcome:#}"
    );
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
            let bytes = scaled(link, 4_000_000);
            let _nginx = Nginx::start(bytes);
            let to = format!("{KERNEL}:{PORT}");
            let large = format!("--talk get --path /large --bytes {bytes} --timeout 120s");
            all_complete(&client(link, &to, &large));
            all_complete(&client(link, &format!("{KERNEL6}:{PORT}"), &large));
            let small = "--talk get --path /small --bytes 1 --connections 500 --concurrent 50";
            all_complete(&client(link, &to, small));
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_python_server_echoes_and_closes_first() {
    for link in LINKS {
        in_namespace(move || {
            let bytes = scaled(link, 4_000_000);
            let _server = python_server(bytes);
            let flags = format!("--talk echo --bytes {bytes} --timeout 120s");
            all_complete(&client(link, &format!("{KERNEL}:{PORT}"), &flags));
            let flags = format!(
                "--talk echo --bytes {} --connections 40 --concurrent 20",
                bytes / 100
            );
            all_complete(&client(link, &format!("{KERNEL6}:{PORT}"), &flags));
            let flags = format!("--talk read --bytes {bytes} --timeout 120s");
            all_complete(&client(link, &format!("{KERNEL}:{}", PORT + 1), &flags));
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_server_that_closes_with_unread_data_resets_us() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(0);
            let to = format!("{KERNEL}:{}", PORT + 2);
            // With 5 % loss each way one handshake in a thousand needs its fourth SYN, after 7 s.
            let flags = "--talk hold --bytes 5000 --connections 10 --concurrent 10 --timeout 10s";
            let outcome = client(link, &to, flags);
            assert_eq!(outcome["opened"], 10, "{outcome:#}");
            // A reset that is lost is sent again when we close.
            assert_eq!(outcome["endings"]["reset"], 10, "{outcome:#}");
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_server_that_never_reads_gets_probes_and_one_that_never_accepts_is_connected_to() {
    for link in LINKS {
        in_namespace(move || {
            let _server = python_server(0);
            let to = format!("{KERNEL}:{}", PORT + 3);
            let outcome = client(link, &to, "--talk hold --bytes 100m --timeout 6s");
            assert_eq!(outcome["opened"], 1, "{outcome:#}");
            assert!(
                outcome["tcp"]["window_probes_sent"].as_u64() > Some(1),
                "{outcome:#}"
            );
            // Our FIN waits behind bytes that the window has no room for: only an abort ends this.
            assert_eq!(outcome["endings"]["aborted"], 1, "{outcome:#}");
            let to = format!("{KERNEL}:{}", PORT + 4);
            // Long enough for a lost question after the neighbour and three lost SYNs.
            let outcome = client(link, &to, "--talk hold --bytes 1000 --timeout 9s");
            assert_eq!(outcome["opened"], 1, "{outcome:#}");
            let to = format!("{KERNEL}:1");
            let outcome = client(link, &to, "--talk echo --timeout 20s");
            assert_eq!(outcome["endings"]["refused"], 1, "{outcome:#}");
        });
    }
}
