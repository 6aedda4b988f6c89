//! Two workers at each end: where both ends steer by a symmetric hash, each flow stays with its worker, and nothing is handed over.
//!
//! It must never need root: the links are in memory and in a directory of the test's own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{load, number};

const SERVER: &str = "198.18.0.1";

/// A directory for a socket, removed at the end.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("syncline-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn socket(&self) -> String {
        self.0.join("memif").display().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `serve` with two workers, ended with the test.
struct Server(Child);

impl Server {
    fn start(socket: &str, key: &str) -> Self {
        let nic = format!("memif:{socket},server");
        let address = format!("{SERVER}/24");
        let child = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args([
                "serve", "--nic", &nic, "--ip", &address, "--listen", "80=http", "--json",
            ])
            .args(["--queues", "2", "--rss-key", key, "--idle", "sleep"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.expect("it starts"));
        let started = Instant::now();
        while !std::path::Path::new(socket).exists() {
            assert!(started.elapsed() < Duration::from_secs(30), "no socket");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Its result.
    fn end(mut self) -> Value {
        let asked = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        assert!(asked.expect("kill").success());
        let stdout = self.0.stdout.take().expect("piped");
        let result = serde_json::from_reader(stdout).expect("a result");
        let _ = self.0.wait();
        result
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn verdict(result: &Value) -> &str {
    result["rss"]["verdict"].as_str().expect("a verdict")
}

#[test]
fn on_the_in_memory_link_replies_come_back_to_the_worker_that_opened() {
    let (result, status, said) = load(&["--queues", "2", "--workload", "connect", "-n", "500"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(number(&result, "/operations/completed"), 500);
    assert_eq!(verdict(&result), "proven", "{said}");
    assert!(
        said.contains("rss: each flow belongs to the worker of its queue"),
        "{said}"
    );
    assert_eq!(result["counters"].get("handed_off"), None);
}

#[test]
fn over_memif_with_a_symmetric_key_no_frame_is_handed_over_and_without_one_half_of_them() {
    for key in ["symmetric", "random"] {
        let place = Place::new(key);
        let server = Server::start(&place.socket(), key);
        let (near, target) = (
            format!("memif:{}", place.socket()),
            format!("http://{SERVER}/"),
        );
        let words = [
            &[
                &target,
                "--nic",
                &near,
                "--ip",
                "198.18.0.2/24",
                "--allow-target",
                "198.18.0.1/32",
            ],
            &[
                "--queues",
                "2",
                "--rss-key",
                key,
                "--idle",
                "sleep",
                "--workload",
                "connect",
            ][..],
            &["--close", "rst", "-n", "300", "-c", "10", "-R", "1k"],
        ];
        let (near, _, said) = load(&words.concat());
        let far = server.end();
        assert_eq!(number(&near, "/operations/completed"), 300, "{said}");
        for result in [&near, &far] {
            let share = result["rss"]["handed_over_share"]
                .as_f64()
                .expect("a share");
            if key == "symmetric" {
                assert_eq!(verdict(result), "proven", "{said}");
                // ARP belongs to worker 0.
                assert!(share < 0.01, "{share}");
            } else {
                assert_eq!(verdict(result), "unknown", "{said}");
                assert!(share > 0.2, "{share}");
                assert!(
                    said.contains("rss: the driver does not say how it steers"),
                    "{said}"
                );
            }
        }
    }
}
