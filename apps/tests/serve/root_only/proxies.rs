//! Headers of the PROXY protocol from a real load balancer: HAProxy in front of our services, over a tap.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use super::{PATIENCE, connect};
use crate::server::{OURS, Server, in_namespace, run};

/// Where HAProxy listens: the kernel's side of the tap.
const FRONT: &str = "198.18.0.1";

/// HAProxy with a configuration, until the test is over.
struct HaProxy {
    process: Child,
    file: PathBuf,
}

impl HaProxy {
    /// Passes TCP on from ports of [`FRONT`] (and of 2001:db8::1) to the `server` lines named.
    fn start(places: &[(u16, &str)]) -> Self {
        let mut text = String::from(
            "defaults\n mode tcp\n timeout connect 10s\n timeout client 20s\n timeout server 20s\n",
        );
        for (port, server) in places {
            text += &format!(
                "listen l{port}\n bind {FRONT}:{port}\n bind 2001:db8::1:{port}\n server s {server}\n"
            );
        }
        let file =
            std::env::temp_dir().join(format!("syncline-haproxy-{}.cfg", std::process::id()));
        std::fs::write(&file, text).expect("room for a file");
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup has installed haproxy");
        let mut proxy = Self { process, file };
        // It listens when its ports take connections.
        let start = std::time::Instant::now();
        let port = places[0].0;
        while connect(FRONT.parse().expect("an address"), port, PATIENCE).is_err() {
            assert!(start.elapsed() < PATIENCE, "HAProxy does not listen");
            assert!(
                proxy.process.try_wait().expect("its state").is_none(),
                "HAProxy has ended"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

fn proxy_of(summary: &Value, listener: usize) -> &Value {
    &summary["listeners"][listener]["proxy"]
}

#[test]
#[ignore = "needs root"]
fn haproxy_tells_where_its_clients_come_from() {
    in_namespace(|| {
        run("ip link set lo up");
        let server = Server::start(&[
            "--listen",
            "80=http,size=10,proxy=v1,81=http,size=10,proxy=v2,82=http,size=10,proxy=any,7=echo,proxy=v2",
        ]);
        let _proxy = HaProxy::start(&[
            (8080, "198.18.0.2:80 send-proxy"),
            (8081, "198.18.0.2:81 send-proxy-v2"),
            (
                8082,
                "198.18.0.2:82 send-proxy-v2 proxy-v2-options crc32c,unique-id",
            ),
            (8007, "198.18.0.2:7 send-proxy-v2 proxy-v2-options crc32c"),
        ]);
        for port in [8080, 8081, 8082] {
            for (host, from) in [(FRONT, FRONT), ("[2001:db8::1]", "[2001:db8::1]")] {
                let client = port - 8000 + 45_000;
                let interface = from.trim_matches(['[', ']']);
                let said = run(&format!(
                    "curl -m 20 -sSig --local-port {client} --interface {interface} http://{host}:{port}/"
                ));
                let source = format!("X-Proxy-Source: {from}:{client}\r\n");
                let destination = format!("X-Proxy-Destination: {host}:{port}\r\n");
                assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
                assert!(
                    said.contains(&source) && said.contains(&destination),
                    "{said}"
                );
            }
        }
        let mut echo = connect(FRONT.parse().expect("an address"), 8007, PATIENCE).expect("open");
        echo.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let sent: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let mut writer = echo.try_clone().expect("a second handle");
        let text = sent.clone();
        let sending = std::thread::spawn(move || writer.write_all(&text).expect("it is taken"));
        let mut received = vec![0; sent.len()];
        echo.read_exact(&mut received).expect("all of it");
        assert!(received == sent);
        sending.join().expect("it was sent");
        drop(echo);
        let summary = server.stop(SIGTERM);
        // Its first port was tried once before curl came.
        assert!(proxy_of(&summary, 0)["v1"].as_u64() >= Some(2), "{summary}");
        assert_eq!(proxy_of(&summary, 1)["v2"], 2, "{summary}");
        assert_eq!(proxy_of(&summary, 2)["crc32c_verified"], 2, "{summary}");
        assert_eq!(proxy_of(&summary, 3)["crc32c_verified"], 1, "{summary}");
        for listener in 0..4 {
            let aborted = &proxy_of(&summary, listener)["aborted"];
            assert!(
                aborted.as_object().is_some_and(serde_json::Map::is_empty),
                "{summary}"
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn health_checks_are_local_and_the_wrong_version_is_aborted_by_name() {
    in_namespace(|| {
        run("ip link set lo up");
        let server = Server::start(&["--listen", "80=http,proxy=v2,81=http,proxy=v2"]);
        let proxy = HaProxy::start(&[
            (
                8080,
                "198.18.0.2:80 check inter 100ms send-proxy-v2 check-send-proxy",
            ),
            (8081, "198.18.0.2:81 send-proxy"),
        ]);
        let start = std::time::Instant::now();
        // Without a right header nothing is answered: HAProxy closes.
        let said = Command::new("curl")
            .args(["-m", "20", "-sS", "http://198.18.0.1:8081/"])
            .output()
            .expect("curl is there");
        assert!(!said.status.success() && said.stdout.is_empty(), "{said:?}");
        while start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(proxy);
        // By hand, straight to the port: bytes that are no header.
        let mut stream: TcpStream = connect(OURS, 80, PATIENCE).expect("open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .expect("taken");
        let error = stream.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let summary = server.stop(SIGTERM);
        assert!(
            proxy_of(&summary, 0)["local"].as_u64() >= Some(1),
            "{summary}"
        );
        assert_eq!(
            proxy_of(&summary, 0)["aborted"]["no_header"],
            1,
            "{summary}"
        );
        assert!(
            proxy_of(&summary, 1)["aborted"]["wrong_version"].as_u64() >= Some(1),
            "{summary}"
        );
        assert_eq!(summary["listeners"][1]["requests"], 0);
    });
}
