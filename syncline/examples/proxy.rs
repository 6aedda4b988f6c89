//! A proxy on a tap: what one connection brings leaves on another, in the frames that brought it.
//!
//! Clients connect to `198.18.0.2:80`; the server is on the kernel's side of the tap, `198.18.0.1:8080`.
#![forbid(unsafe_code)]
use std::collections::HashMap;
use std::net::SocketAddr;

use syncline::{App, CloseReason, ConnId, Connect, Cx, Endpoint, Nic};

struct Proxy {
    server: SocketAddr,
    /// The other connection of each.
    pairs: HashMap<ConnId, ConnId>,
}

impl Proxy {
    /// From one connection to the other: as far as there is room.
    fn forward<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, from: ConnId) {
        let Some(&to) = self.pairs.get(&from) else {
            return;
        };
        if cx.forward(from, to) {
            cx.shutdown(to);
        }
    }
}

impl App for Proxy {
    type Conn = ();

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        if let Some(&client) = self.pairs.get(&conn) {
            // The server has answered: what the client has said meanwhile may go.
            return self.forward(cx, client);
        }
        match cx.connect(self.server, &Connect::default(), ()) {
            Ok(upstream) => self.pairs.extend([(conn, upstream), (upstream, conn)]),
            Err(_) => cx.abort(conn),
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        // Bytes for which the other side has no room stay unread, and this peer's window closes.
        self.forward(cx, conn);
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        if let Some(&from) = self.pairs.get(&conn) {
            self.forward(cx, from);
        }
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        self.forward(cx, conn);
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, ()>,
        conn: ConnId,
        _: &mut (),
        reason: CloseReason,
    ) {
        if let Some(other) = self.pairs.remove(&conn) {
            // A reset, a refusal or a timeout reaches the other end too.
            if reason != CloseReason::Graceful {
                cx.abort(other);
            }
        }
    }
}

fn main() -> Result<(), syncline::Error> {
    let endpoint = Endpoint::new().address("198.18.0.2/24").listen(80);
    let endpoint = endpoint.kernel_address("198.18.0.1/24");
    let report = endpoint.run("tap:proxy0", |_seat| Proxy {
        server: ([198, 18, 0, 1], 8080).into(),
        pairs: HashMap::new(),
    })?;
    println!("{report}");
    Ok(())
}
