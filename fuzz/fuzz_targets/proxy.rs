//! Any bytes as the beginning of a connection behind a load balancer: the PROXY protocol, both versions. Nothing may panic, a
//! decision stands whatever follows, and what was read must survive being written and read again.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run proxy`; see `cargo fuzz --help`.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use workload::proxy::{
    HEADER_MAX, Header, Origin, Parsed, Tlv, Versions, parse, write_v1, write_v2,
};

fuzz_target!(|bytes: &[u8]| {
    // The first byte says where the bytes are cut.
    let Some((&cut, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = parse(bytes, Versions::Any);
    let cut = usize::from(cut).min(bytes.len());
    let part = parse(&bytes[..cut], Versions::Any);
    assert!(part == Parsed::Partial || part == whole);
    match whole {
        Parsed::Partial => assert!(bytes.len() < HEADER_MAX),
        Parsed::Malformed(_) => {}
        Parsed::Header(header) => {
            assert!(header.len <= bytes.len() && header.len <= HEADER_MAX);
            assert_eq!(
                parse(&bytes[..header.len - 1], Versions::Any),
                Parsed::Partial
            );
            rewrite(&header);
        }
    }
});

fn rewrite(header: &Header) {
    let Origin::Relayed {
        source,
        destination,
    } = header.origin
    else {
        return;
    };
    let mut into = [0; 64];
    let len = write_v2(Some((source, destination)), &[Tlv::Crc32c], &mut into);
    let binary = &into[..len.expect("there is room")];
    for written in [&write_v1(source, destination)[..], binary] {
        match parse(written, Versions::Any) {
            Parsed::Header(read) => {
                assert_eq!((read.len, read.origin), (written.len(), header.origin));
            }
            other => panic!("{other:?} of {written:x?}"),
        }
    }
}
