//! A client on a tap: says a word to the echo server `198.18.0.1:7` on the kernel's side, prints the answer, and ends the run.
#![forbid(unsafe_code)]
use syncline::{App, ConnId, Connect, Cx, Endpoint, Nic, Seat};

struct Client(Seat);

impl App for Client {
    type Conn = ();

    fn on_start<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>) {
        let opened = cx.connect(([198, 18, 0, 1], 7).into(), &Connect::default(), ());
        opened.expect("a route and a free port");
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        cx.send_bytes(conn, b"hello\n").expect("there is room");
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        print!("{}", String::from_utf8_lossy(cx.peek(conn)));
        cx.consume(conn, u32::MAX);
        cx.close(conn);
        self.0.end();
    }
}

fn main() -> Result<(), syncline::Error> {
    let endpoint = Endpoint::new().address("198.18.0.2/24");
    let endpoint = endpoint.kernel_address("198.18.0.1/24");
    println!("{}", endpoint.run("tap:client0", Client)?);
    Ok(())
}
