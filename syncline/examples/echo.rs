//! An echo server on a tap: the frame that brought bytes takes them back.
#![forbid(unsafe_code)]
use syncline::{App, ConnId, Cx, Endpoint, Nic};

struct Echo;

impl App for Echo {
    type Conn = ();

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
        if cx.forward(conn, conn) {
            cx.close(conn);
        }
    }

    fn on_peer_closed<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, state: &mut ()) {
        self.on_data(cx, conn, state);
    }
}

fn main() -> Result<(), syncline::Error> {
    let endpoint = Endpoint::new().address("198.18.0.2/24").listen(7);
    let endpoint = endpoint.kernel_address("198.18.0.1/24");
    println!("echo at 198.18.0.2 port 7, Ctrl-C ends it");
    println!("{}", endpoint.run("tap:echo0", |_seat| Echo)?);
    Ok(())
}
