//! Datagrams, records, URLs.

use super::Vectors;
use quintet_enode::Record;

/// Hash and signature of a datagram.
const HEAD: usize = 32 + 65;

/// Real datagrams whole, and their packets alone.
pub(super) fn datagrams(vectors: &Vectors) -> Vec<Vec<u8>> {
    let eip8 = vectors.bytes("eip8-vectors.json");
    let real = vectors.bytes("discv4-real-packets.json");
    let datagrams = eip8.into_iter().chain(real).filter(|bytes| bytes.len() > HEAD);
    let mut seeds = datagrams.flat_map(|bytes| [bytes[HEAD..].to_vec(), bytes]).collect::<Vec<_>>();
    // One of each packet, empty.
    seeds.extend((1..=6).map(|kind| vec![kind, 0xc0]));
    seeds
}

/// Records as text and as bytes, and entries to make some of.
pub(super) fn records(vectors: &Vectors) -> Vec<Vec<u8>> {
    let texts = ["enr-vectors.json", "enr-from-dns-tree.json"].map(|file| vectors.texts(file)).concat();
    let texts = texts.into_iter().filter(|text| text.starts_with("enr:")).take(200);
    let records = texts.flat_map(|text| {
        let bytes = text.parse::<Record>().map(|record| record.encode().to_vec());
        bytes.ok().into_iter().chain([text.into_bytes()])
    });
    let mut seeds = records.collect::<Vec<_>>();
    seeds.push(b"\x02\x05ip\x84\x7f\0\0\x01\x03\x03udp\x82\x76\x5f\x03\x03tcp\x82\x76\x5f".to_vec());
    seeds.push(b"\x03\x08eth\xc7\xc6\x84\xfc\x64\xec\x04\x80".to_vec());
    seeds
}

/// URLs in geth's forms.
pub(super) fn enodes() -> Vec<Vec<u8>> {
    let key = "ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd31387574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f";
    let rest =
        ["", "@127.0.0.1:30303", "@10.3.58.6:30303?discport=30301", "@[2001:db8::1]:0?discport=1", "@host:1"];
    let urls = rest.iter().map(|rest| format!("enode://{key}{rest}").into_bytes());
    urls.chain([key.as_bytes().to_vec()]).collect()
}
