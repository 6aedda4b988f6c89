//! Runs of a user without root: a clear error, or a tap in namespaces of its own. (Root starts the tests, so that they can
//! become another user.)

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal::SIGINT;

use crate::server::{Server, counter, in_namespace};

/// The user "nobody".
const NOBODY: u32 = 65_534;

/// A copy of the program that everybody may run, wherever the build directory is.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("syncline-{name}-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_syncline"), &path).expect("room for a copy");
        Self(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A command that a user without any permission runs, whose variables are still those of root.
fn as_nobody(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command.env("XDG_RUNTIME_DIR", "/run/user/0");
    command
}

/// Whether this kernel lets users make namespaces; says so when it doesn't.
fn may_make_namespaces() -> bool {
    let probe = as_nobody("unshare").args(["-rn", "true"]).output();
    let may = probe.is_ok_and(|output| output.status.success());
    if !may {
        println!("skipped: users may not make user namespaces here");
    }
    may
}

#[test]
#[ignore = "needs root"]
fn without_permission_it_says_what_to_do() {
    let copy = Copy::new("denied");
    let output = as_nobody(&copy.0)
        .args(["serve", "--nic", "tap:dtap0", "--ip", "198.18.0.2/24"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.lines().count() == 1 && text.contains("run as root") && text.contains("--unshare"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_memif_where_its_user_may_not_write_is_refused_with_the_directory() {
    let copy = Copy::new("memif");
    let output = as_nobody(&copy.0)
        .args(["serve", "--nic", "memif:/usr/a.sock,server"])
        .args(["--ip", "198.18.0.2/24"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.lines().count() == 1 && text.contains("can't read and write /usr,"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_tap_in_namespaces_of_its_own_needs_no_root() {
    if !may_make_namespaces() {
        return;
    }
    let copy = Copy::new("unshare");
    let server = Server::start_by(as_nobody(&copy.0), &["--unshare", "--listen", "7=echo"]);
    let pid = server.pid();
    let ping = as_nobody("nsenter")
        .args(["--target", &pid.to_string()])
        .args(["--user", "--preserve-credentials", "--net"])
        .args(["ping", "-c", "2", "-i", "0.2", "-W", "5", "198.18.0.2"])
        .output()
        .expect("it runs");
    assert!(ping.status.success(), "{ping:?}");
    let summary = server.stop(SIGINT);
    assert_eq!(counter(&summary, "echo_answered"), 2, "{summary}");
    let base = std::env::temp_dir().join(format!("syncline-{pid}"));
    assert!(!base.exists(), "{} is left", base.display());
}

/// Root needs no user namespace for it.
#[test]
#[ignore = "needs root"]
fn root_gets_a_network_namespace_only() {
    in_namespace(|| {
        let server = Server::start(&["--unshare"]);
        let pid = server.pid();
        let namespace =
            |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
        let (theirs, ours) = (pid.to_string(), "thread-self");
        let user = namespace(&theirs, "user").expect("a namespace");
        assert_eq!(user, namespace(ours, "user").expect("a namespace"));
        let net = namespace(&theirs, "net").expect("a namespace");
        assert_ne!(net, namespace(ours, "net").expect("a namespace"));
        server.stop(SIGINT);
    });
}
