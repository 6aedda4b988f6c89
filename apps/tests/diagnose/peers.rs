//! `syncline diagnose HOST:PORT` against programs of the kernel's own sockets, on loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

/// A program that does this with each connection that it accepts.
fn server(with_each: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(with_each));
    address
}

fn verdict(target: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["diagnose", target, "--wait", "100ms", "--json"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{target}: {said}");
    let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    whole["addresses"][0].clone()
}

#[test]
fn a_peer_is_named_by_what_it_does() {
    let greets = server(|mut stream| {
        // The prober closes when it has heard enough.
        let _ = stream.write_all(b"220 hello\r\n");
        let _ = stream.read(&mut [0; 9]);
    });
    let found = verdict(&greets.to_string());
    assert_eq!(
        (&found["verdict"], &found["certainty"]),
        (&"open".into(), &"certain".into())
    );
    let evidence = found["evidence"][0].as_str().expect("text");
    assert!(
        evidence.contains("220 hello") && evidence.contains("closed when we did"),
        "{found}"
    );

    let waits = server(|mut stream| {
        let _ = stream.read(&mut [0; 9]);
    });
    assert_eq!(verdict(&waits.to_string())["verdict"], "open");

    let closes = server(drop);
    assert_eq!(verdict(&closes.to_string())["verdict"], "closes-at-once");

    // It never accepts, and has room for all attempts.
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = hangs.local_addr().expect("an address").to_string();
    let found = verdict(&address);
    assert_eq!(
        (&found["verdict"], &found["certainty"]),
        (&"app-silent".into(), &"possible".into())
    );
    assert!(
        found["members"]
            .as_array()
            .is_some_and(|members| members.len() > 1)
    );
    drop(hangs);

    let found = verdict(&address);
    assert_eq!(
        (&found["verdict"], &found["certainty"]),
        (&"port-closed".into(), &"likely".into())
    );
    assert!(
        found["evidence"][2]
            .as_str()
            .is_some_and(|text| text.contains("ECONNREFUSED"))
    );
    assert!(
        found["can_not_see"]
            .as_str()
            .is_some_and(|text| text.contains("load balancers"))
    );
}

#[test]
fn what_is_neither_a_peer_nor_a_capture_is_refused() {
    for (args, words) in [
        (
            &["diagnose"][..],
            "give a capture (-r FILE) or a peer (HOST:PORT)",
        ),
        (&["diagnose", "192.0.2.1"], "give a host and a port"),
        (
            &["diagnose", "192.0.2.1:81", "-r", "x.pcap"],
            "cannot be used with",
        ),
        (
            &["diagnose", "-r", "x.pcap", "--attempts", "2"],
            "cannot be used with",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .args(args)
            .output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
