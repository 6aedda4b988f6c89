//! `--vip`: the kernel reaches the address only when it is given the link address, never by asking.

use std::process::Command;

use nix::sys::signal::Signal::SIGTERM;

use crate::server::{Server, counter, in_namespace, run};

/// The kernel asks for the link address of `ip`, in vain.
fn finds_nobody(ip: &str, ping: &str) {
    let output = Command::new("ping")
        .args([ping, "-c", "1", "-W", "2", ip])
        .output()
        .expect("ping is there");
    assert!(!output.status.success(), "{output:?}");
    let neighbor = run(&format!("ip neigh show {ip} dev dtap0"));
    let is_unknown = neighbor.contains("FAILED") || neighbor.contains("INCOMPLETE");
    assert!(is_unknown && !neighbor.contains("lladdr"), "{neighbor}");
}

#[test]
#[ignore = "needs root"]
fn the_kernel_never_learns_where_a_vip_is_and_is_answered_there() {
    in_namespace(|| {
        let server = Server::start(&[
            "--vip",
            "198.18.0.77,2001:db8::77",
            "--listen",
            "80=http,size=10",
        ]);
        run("ping -c 1 -W 5 198.18.0.2");
        let known = run("ip neigh show 198.18.0.2 dev dtap0");
        let mac = known
            .split_whitespace()
            .skip_while(|word| *word != "lladdr")
            .nth(1);
        let mac = mac.expect("the address beside it is announced").to_owned();
        finds_nobody("198.18.0.77", "-4");
        finds_nobody("2001:db8::77", "-6");
        // Duplicate address detection of another machine that has the address: the load balancer.
        run("ip addr add 2001:db8::77/64 dev dtap0");
        let start = std::time::Instant::now();
        while run("ip -6 addr show dev dtap0 tentative").contains("2001:db8::77") {
            assert!(
                start.elapsed().as_secs() < 20,
                "duplicate detection doesn't end"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(!run("ip -6 addr show dev dtap0").contains("dadfailed"));
        run("ip addr del 2001:db8::77/64 dev dtap0");
        // A load balancer knows its servers by their link addresses.
        for (vip, url) in [
            ("198.18.0.77", "http://198.18.0.77/"),
            ("2001:db8::77", "http://[2001:db8::77]/"),
        ] {
            run(&format!(
                "ip neigh replace {vip} lladdr {mac} dev dtap0 nud permanent"
            ));
            let code = run(&format!(
                "curl -m 20 -sSg -o /dev/null -w %{{http_code}} {url}"
            ));
            assert_eq!(code, "200");
            run(&format!("ping -c 1 -W 5 {vip}"));
        }
        let summary = server.stop(SIGTERM);
        assert!(counter(&summary, "arp_not_for_us") >= 1, "{summary}");
        assert!(counter(&summary, "ndp_ignored") >= 2, "{summary}");
        assert_eq!(summary["listeners"][0]["requests"], 2);
    });
}
