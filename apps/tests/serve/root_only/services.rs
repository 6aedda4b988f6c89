//! The services, with programs that everybody has and the kernel's own sockets as their peers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{SIGCONT, SIGINT, SIGTERM};
use serde_json::Value;
use stack::queue::pattern;

use super::{PATIENCE, SILENCE, connect};
use crate::server::{OURS, OURS6, Server, counter, in_namespace, run};

/// A connection to a service, which gives up after a while.
fn open(address: IpAddr, port: u16) -> TcpStream {
    let stream = connect(address, port, PATIENCE).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A number of the first place of `--listen`.
fn of_listener(summary: &Value, name: &str) -> u64 {
    let value = &summary["listeners"][0][name];
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {summary}"))
}

/// How many connections of the first place ended for this reason.
fn closed(summary: &Value, reason: &str) -> u64 {
    summary["listeners"][0]["closed"][reason]
        .as_u64()
        .unwrap_or(0)
}

/// Bytes that look like nothing: a linear congruential sequence.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
#[ignore = "needs root"]
fn curl_gets_bodies_of_every_size_in_both_families_and_versions() {
    in_namespace(|| {
        for (size, bytes) in [
            ("0", 0),
            ("1", 1),
            ("1k", 1000),
            ("60k", 60_000),
            ("3m", 3_000_000),
        ] {
            let server = Server::start(&["--listen", &format!("80=http,size={size}")]);
            let file = std::env::temp_dir().join(format!("syncline-body-{}", std::process::id()));
            let path = file.to_str().expect("text");
            for url in ["http://198.18.0.2/", "http://[2001:db8::2]/a?b"] {
                for version in ["--http1.1", "--http1.0"] {
                    let format = "%{http_code},%{size_download}";
                    let said = run(&format!(
                        "curl -m 20 -sSg {version} -o {path} -w {format} {url}"
                    ));
                    assert_eq!(said, format!("200,{bytes}"), "{url} {version}");
                    let body = std::fs::read(&file).expect("curl wrote it");
                    assert!(body.len() == bytes && pattern::matches(0, &body));
                }
            }
            let head = run("curl -m 20 -sSI http://198.18.0.2/");
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(
                head.contains(&format!("Content-Length: {bytes}\r\n")),
                "{head}"
            );
            std::fs::remove_file(&file).expect("it was written");
            let summary = server.stop(SIGTERM);
            assert_eq!(of_listener(&summary, "requests"), 5);
            assert_eq!(of_listener(&summary, "accepted"), 5);
            assert_eq!(of_listener(&summary, "open"), 0);
            assert_eq!(closed(&summary, "graceful"), 5, "{summary}");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn curl_uses_a_connection_again_unless_told_not_to() {
    in_namespace(|| {
        for (options, connections) in [("", "1,0,"), (",close", "1,1,")] {
            let server = Server::start(&["--listen", &format!("80=http{options}")]);
            let urls = "http://198.18.0.2/1 http://198.18.0.2/2";
            let said = run(&format!(
                "curl -m 20 -sS -o /dev/null -o /dev/null -w %{{num_connects}}, {urls}"
            ));
            assert_eq!(said, connections);
            let refused =
                run("curl -m 20 -sS -o /dev/null -w %{http_code} -d x=y http://198.18.0.2/");
            assert_eq!(refused, "405");
            let summary = server.stop(SIGTERM);
            assert_eq!(of_listener(&summary, "requests"), 3);
            assert_eq!(of_listener(&summary, "refused_requests"), 1);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn curl_sends_bodies_of_both_kinds_and_silence_ends_a_connection() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80=http,size=10,idle=1s"]);
        let file = std::env::temp_dir().join(format!("syncline-upload-{}", std::process::id()));
        std::fs::write(&file, noise(3_000_000)).expect("room for a file");
        let path = file.to_str().expect("text");
        for header in [
            "Transfer-Encoding:chunked",
            "Expect:100-continue",
            "Expect:",
        ] {
            // Twice on one connection: the second request is found behind the first one's body.
            let url = "http://198.18.0.2/";
            let said = run(&format!(
                "curl -m 20 -sS -o /dev/null -o /dev/null -w %{{http_code}},%{{num_connects}}; -H {header} -T {path} {url} -T {path} {url}"
            ));
            assert_eq!(said, "405,1;405,0;", "{header}");
        }
        std::fs::remove_file(&file).expect("it was written");
        let mut silent = open(OURS, 80);
        let since = Instant::now();
        assert_eq!(silent.read(&mut [0]).expect("the end"), 0);
        assert!(
            since.elapsed() >= Duration::from_millis(900),
            "{:?}",
            since.elapsed()
        );
        drop(silent);
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "requests"), 6);
        assert_eq!(of_listener(&summary, "idle_closed"), 1);
        assert!(of_listener(&summary, "bytes_in") > 18_000_000);
    });
}

/// Reads as many responses with a body of 10 bytes as there are.
fn read_responses(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while text.matches("\r\n\r\n !\"#$%&'()").count() < count {
        let n = stream.read(&mut buffer).expect("an answer");
        assert!(n > 0, "it goes on: {text}");
        text.push_str(std::str::from_utf8(&buffer[..n]).expect("text"));
    }
    text
}

#[test]
#[ignore = "needs root"]
fn requests_may_come_together_and_in_pieces() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80=http,size=10"]);
        let mut stream = open(OURS, 80);
        stream.set_nodelay(true).expect("an option");
        let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        stream
            .write_all(request.repeat(50).as_bytes())
            .expect("it sends");
        read_responses(&mut stream, 50);
        for byte in request.bytes() {
            stream.write_all(&[byte]).expect("it sends");
            std::thread::sleep(Duration::from_millis(1));
        }
        read_responses(&mut stream, 1);
        // Cut in the middle of the second of three.
        let (first, second) = request.split_at(9);
        stream
            .write_all(format!("{request}{first}").as_bytes())
            .expect("it sends");
        std::thread::sleep(Duration::from_millis(20));
        stream
            .write_all(format!("{second}{request}").as_bytes())
            .expect("it sends");
        read_responses(&mut stream, 3);
        // The last one asks for the end.
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(last.as_bytes()).expect("it sends");
        let text = read_responses(&mut stream, 1);
        assert!(text.contains("Connection: close\r\n"), "{text}");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        drop(stream);
        let mut broken = open(OURS6, 80);
        broken.write_all(b"NONSENSE\r\n\r\n").expect("it sends");
        let mut text = String::new();
        broken
            .read_to_string(&mut text)
            .expect("an answer, then the end");
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "requests"), 56);
        assert_eq!(of_listener(&summary, "refused_requests"), 1);
    });
}

#[test]
#[ignore = "needs root"]
fn echo_gives_back_every_byte_and_then_closes() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "7=echo"]);
        for address in [OURS, OURS6] {
            let sent = noise(8_000_000);
            let back = exchange(address, 7, &sent);
            assert!(back == sent, "{} bytes came back", back.len());
        }
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "bytes_in"), 16_000_000);
        assert_eq!(of_listener(&summary, "bytes_out"), 16_000_000);
        assert_eq!(closed(&summary, "graceful"), 2);
    });
}

/// Writes all of `sent`, ends its half, and says what comes back meanwhile and until the end.
fn exchange(address: IpAddr, port: u16, sent: &[u8]) -> Vec<u8> {
    let mut stream = open(address, port);
    let mut writer = stream.try_clone().expect("a second name");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(sent).expect("it sends");
            writer.shutdown(Shutdown::Write).expect("half of it ends");
        });
        let mut back = Vec::with_capacity(sent.len());
        stream.read_to_end(&mut back).expect("all, and the end");
        back
    })
}

#[test]
#[ignore = "needs root"]
fn echoes_share_few_places_without_standing_in_each_others_way() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "7=echo", "--max-kept-frames", "200"]);
        let sent = noise(1_000_000);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(exchange(OURS, 7, &sent) == sent));
            }
        });
        let summary = server.stop(SIGTERM);
        assert_eq!(closed(&summary, "graceful"), 8, "{summary}");
    });
}

#[test]
#[ignore = "needs root"]
fn an_echo_whose_peer_does_not_read_stops_reading_and_goes_on_later() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "7=echo", "--rcv-buf", "64k"]);
        let mut stream = open(OURS, 7);
        let mut writer = stream.try_clone().expect("a second name");
        let sent = noise(16_000_000);
        let to_send = sent.clone();
        let thread = std::thread::spawn(move || {
            writer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
            writer.write_all(&to_send).expect("it sends");
            writer.shutdown(Shutdown::Write).expect("half of it ends");
        });
        std::thread::sleep(Duration::from_millis(700));
        assert!(!thread.is_finished(), "16 MB fit nowhere");
        let mut back = Vec::with_capacity(sent.len());
        stream.read_to_end(&mut back).expect("all, and the end");
        thread.join().expect("it wrote");
        assert!(back == sent, "{} bytes came back", back.len());
        server.stop(SIGTERM);
    });
}

#[test]
#[ignore = "needs root"]
fn daytime_says_its_line_and_closes_first() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "13=daytime"]);
        for address in [OURS, OURS6] {
            let mut text = String::new();
            open(address, 13)
                .read_to_string(&mut text)
                .expect("a line, and the end");
            let year = run("date -u +%Y").trim().to_owned();
            assert!(text.contains(&year) && text.ends_with("-UTC\r\n"), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
        // The side that closes first has TIME-WAIT: not the kernel.
        assert_eq!(run("ss -Htan state time-wait"), "");
        let summary = server.stop(SIGTERM);
        assert_eq!(closed(&summary, "graceful"), 2);
        assert_eq!(of_listener(&summary, "requests"), 2);
    });
}

#[test]
#[ignore = "needs root"]
fn chargen_sends_its_pattern_until_the_peer_closes() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "19=chargen"]);
        let mut stream = open(OURS, 19);
        let mut read = vec![0; 5_000_000];
        stream.read_exact(&mut read).expect("it does not end");
        assert!(pattern::matches(0, &read));
        stream.shutdown(Shutdown::Write).expect("half of it ends");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("now it ends");
        assert!(pattern::matches(read.len() as u64, &rest));
        let summary = server.stop(SIGTERM);
        assert_eq!(
            of_listener(&summary, "bytes_out"),
            (read.len() + rest.len()) as u64
        );
        assert_eq!(closed(&summary, "graceful"), 1);
    });
}

#[test]
#[ignore = "needs root"]
fn discard_reads_all_of_it_and_says_nothing() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "198.18.0.2:9=discard"]);
        let mut stream = open(OURS, 9);
        stream.write_all(&noise(5_000_000)).expect("it sends");
        stream.shutdown(Shutdown::Write).expect("half of it ends");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        assert_eq!(
            connect(OURS6, 9, PATIENCE).err(),
            Some(ErrorKind::ConnectionRefused),
            "it is on one address"
        );
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "bytes_in"), 5_000_000);
        assert_eq!(of_listener(&summary, "bytes_out"), 0);
    });
}

#[test]
#[ignore = "needs root"]
fn noread_closes_its_window_and_never_the_connection() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "99=noread", "--rcv-buf", "64k"]);
        let mut stream = open(OURS, 99);
        stream.set_nonblocking(true).expect("an option");
        let block = noise(64 * 1024);
        let started = Instant::now();
        let mut full_since = Instant::now();
        // The kernel's buffer takes no more for half a second: nothing moves any more.
        while full_since.elapsed() < Duration::from_millis(500) {
            match stream.write(&block) {
                Ok(_) => full_since = Instant::now(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            std::thread::sleep(Duration::from_millis(1));
            assert!(started.elapsed() < PATIENCE, "it takes and takes");
        }
        let sockets = run("ss -tino dst 198.18.0.2");
        assert!(sockets.contains("timer:(persist"), "{sockets}");
        let summary = server.stop(SIGINT);
        assert_eq!(of_listener(&summary, "bytes_in"), 0);
        // Unread data: the close is a reset (RFC 1122 4.2.2.13).
        assert_eq!(closed(&summary, "unread_data"), 1, "{summary}");
        // Linux probes with a byte that was acknowledged before.
        assert!(
            summary["tcp"]["out_of_window"].as_u64() > Some(0),
            "{summary}"
        );
    });
}

#[test]
#[ignore = "needs root"]
fn noaccept_fills_its_queue_and_then_takes_no_more() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "98=noaccept,backlog=2"]);
        let waiting: Vec<TcpStream> = (0..3).map(|_| open(OURS, 98)).collect();
        assert_eq!(connect(OURS, 98, SILENCE).err(), Some(ErrorKind::TimedOut));
        // Data is taken before the connection is accepted.
        let mut first = waiting.first().expect("three");
        first.write_all(b"hello").expect("it sends");
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "accepted"), 0);
        assert!(of_listener(&summary, "refused") >= 1, "{summary}");
        for mut stream in waiting {
            let error = stream.read(&mut [0]).expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    });
}

/// At work or parked, a connection counts; and there is no minimum below which a limit doesn't go.
#[test]
#[ignore = "needs root"]
fn as_many_connections_are_served_as_the_limit_says() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "98=noread", "--max-connections", "64"]);
        let mut held: Vec<TcpStream> = (0..50).map(|_| open(OURS, 98)).collect();
        // These are parked: their places among those at work are free again.
        std::thread::sleep(Duration::from_millis(2_500));
        held.extend((0..50).map(|_| open(OURS, 98)));
        std::thread::sleep(Duration::from_millis(500));
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "accepted"), 64, "{summary}");
        drop(held);
    });
}

#[test]
#[ignore = "needs root"]
fn as_many_connections_are_in_time_wait_as_the_limit_says() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "13=daytime", "--max-time-wait", "8"]);
        for _ in 0..20 {
            let mut line = String::new();
            let mut stream = open(OURS, 13);
            stream.read_to_string(&mut line).expect("a line");
        }
        std::thread::sleep(Duration::from_millis(500));
        let summary = server.stop(SIGTERM);
        assert_eq!(counter(&summary, "time_wait_recycled"), 12, "{summary}");
    });
}

/// A client's view of a connection that it has asked for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Open,
    Reset,
}

/// Asks for a connection, and says how it goes on; neither side sends anything.
fn asked() -> (Option<TcpStream>, Outcome) {
    let mut stream = match connect(OURS, 98, PATIENCE) {
        Ok(stream) => stream,
        // The reset was faster than connect().
        Err(ErrorKind::ConnectionReset) => return (None, Outcome::Reset),
        Err(error) => panic!("{error}"),
    };
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let error = stream
        .read(&mut [0])
        .expect_err("neither side sends anything");
    let outcome = match error.kind() {
        ErrorKind::ConnectionReset => Outcome::Reset,
        _ => Outcome::Open,
    };
    (Some(stream), outcome)
}

/// Opens four connections while the server stands still, so that it answers all their SYNs before any handshake is complete.
fn four_at_once(server: &Server) -> Vec<Outcome> {
    server.freeze();
    let clients: Vec<_> = (0..4).map(|_| std::thread::spawn(asked)).collect();
    let deadline = Instant::now() + PATIENCE;
    while run("ss -tnH state syn-sent").lines().count() < clients.len() {
        assert!(Instant::now() < deadline, "the kernel asks");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal(SIGCONT);
    let joined = clients.into_iter().map(|client| client.join());
    // Those that are open stay so until all have been looked at.
    let (_streams, mut outcomes): (Vec<_>, Vec<_>) =
        joined.map(|end| end.expect("no panic")).unzip();
    outcomes.sort_unstable();
    outcomes
}

#[test]
#[ignore = "needs root"]
fn a_handshake_that_finds_the_queue_full_waits_or_is_reset_as_it_was_told() {
    use Outcome::{Open, Reset};
    for (options, counter, outcomes) in [
        (
            "cookies=never",
            "embryo_ack_queue_full",
            [Open, Open, Open, Open],
        ),
        (
            "cookies=always",
            "cookie_queue_full",
            [Open, Open, Open, Open],
        ),
        (
            "cookies=never,abort-on-overflow",
            "embryo_ack_queue_reset",
            [Open, Open, Reset, Reset],
        ),
        (
            "cookies=always,abort-on-overflow",
            "cookie_queue_reset",
            [Open, Open, Reset, Reset],
        ),
    ] {
        in_namespace(move || {
            let server = Server::start(&["--listen", &format!("98=noaccept,backlog=4,{options}")]);
            // Five may wait and three do: of four more, two find a place.
            let waiting: Vec<TcpStream> = (0..3).map(|_| open(OURS, 98)).collect();
            assert_eq!(four_at_once(&server), outcomes, "{options}");
            let summary = server.stop(SIGTERM);
            drop(waiting);
            assert!(
                crate::server::counter(&summary, counter) >= 2,
                "{options}: {summary}"
            );
            assert!(
                of_listener(&summary, "refused") >= 2,
                "{options}: {summary}"
            );
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_whole_prefix_is_served_on_many_ports() {
    in_namespace(|| {
        let server = Server::start(&[
            "--prefix",
            "198.18.64.0/24,2001:db8:1::/120",
            "--listen",
            "198.18.64.0/24:8000-8010=http,size=10,[2001:db8:1::/120]:80=http,size=10",
        ]);
        for url in [
            "http://198.18.64.0:8000/",
            "http://198.18.64.255:8010/",
            "http://[2001:db8:1::77]/",
        ] {
            let said = run(&format!(
                "curl -m 20 -sSg -o /dev/null -w %{{http_code}} {url}"
            ));
            assert_eq!(said, "200", "{url}");
        }
        let elsewhere = connect(OURS, 8000, PATIENCE).err();
        assert_eq!(elsewhere, Some(ErrorKind::ConnectionRefused));
        let summary = server.stop(SIGTERM);
        assert_eq!(of_listener(&summary, "requests"), 2);
        assert_eq!(summary["listeners"][1]["requests"], 1);
    });
}

#[test]
#[ignore = "needs root"]
fn at_the_end_idle_connections_close_and_busy_ones_finish() {
    in_namespace(|| {
        let server = Server::start(&["--listen", "80=http,size=3m", "--drain-timeout", "20s"]);
        let mut idle = open(OURS, 80);
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut busy = open(OURS, 80);
        busy.write_all(request).expect("it sends");
        // The bytes sent to it fill the kernel's buffer, and wait there.
        std::thread::sleep(Duration::from_millis(300));
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            let mut text = Vec::new();
            busy.read_to_end(&mut text).expect("all, and the end");
            text.len()
        });
        let asker = std::thread::spawn(move || idle.read(&mut [0]).expect("the end"));
        let summary = server.stop(SIGINT);
        assert_eq!(asker.join().expect("it ended"), 0);
        assert!(reader.join().expect("it ended") > 3_000_000);
        assert_eq!(summary["ending"]["open"], 2, "{summary}");
        assert_eq!(summary["ending"]["reset"], 0, "{summary}");
        assert_eq!(closed(&summary, "graceful"), 2, "{summary}");
    });
}

#[test]
#[ignore = "needs root"]
fn at_the_end_what_takes_too_long_is_reset() {
    in_namespace(|| {
        for (patience, signals) in [("300ms", 1), ("60s", 2)] {
            let server = Server::start(&["--listen", "19=chargen", "--drain-timeout", patience]);
            let mut stream = open(OURS, 19);
            // The peer doesn't read: what is queued can't leave.
            std::thread::sleep(Duration::from_millis(300));
            if signals == 2 {
                server.signal(SIGINT);
                std::thread::sleep(Duration::from_millis(300));
            }
            let started = Instant::now();
            let summary = server.stop(SIGINT);
            assert!(started.elapsed() < PATIENCE, "{patience}");
            assert_eq!(summary["ending"]["reset"], 1, "{summary}");
            assert_eq!(closed(&summary, "aborted"), 1, "{summary}");
            let mut text = Vec::new();
            let error = stream.read_to_end(&mut text).expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            // Bytes that were queued and never acknowledged were not sent.
            assert_eq!(of_listener(&summary, "bytes_out"), text.len() as u64);
        }
    });
}
