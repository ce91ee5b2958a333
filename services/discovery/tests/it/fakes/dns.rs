//! A DNS server with TXT records, and a node list (EIP-1459) to put into it.

use super::Task;
use alloy_primitives::keccak256;
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record as DnsRecord};
use secp256k1::{Message as Digest, PublicKey, SECP256K1, SecretKey};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;

/// Starts it with texts by name.
pub(crate) async fn start(texts: BTreeMap<String, String>) -> (SocketAddr, Task) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = socket.local_addr().expect("bound");
    let task = Task::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let query = Message::from_vec(&packet[..length]).expect("a query");
            let answer = answer(&query, &texts).to_vec().expect("encodable");
            socket.send_to(&answer, from).await.expect("sent");
        }
    });
    (address, task)
}

fn answer(query: &Message, texts: &BTreeMap<String, String>) -> Message {
    let question = query.queries.first().expect("a question");
    let mut answer = Message::response(query.id, OpCode::Query);
    answer.add_query(question.clone());
    let name = question.name().to_string();
    let found = texts.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim_end_matches('.')));
    match found {
        Some((_, text)) => {
            // As DNS has it: strings of at most 255 bytes.
            let strings = text.as_bytes().chunks(255).map(<[u8]>::to_vec);
            let strings: Vec<_> = strings.map(|bytes| String::from_utf8(bytes).expect("ASCII")).collect();
            let data = RData::TXT(TXT::new(strings));
            answer.add_answers([DnsRecord::from_rdata(question.name().clone(), 60, data)]);
        }
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer
}

/// Signs a list of nodes; gives its URL and its texts by name.
pub(crate) fn publish(domain: &str, nodes: &[String]) -> (String, BTreeMap<String, String>) {
    let key = SecretKey::from_byte_array([7; 32]).expect("a key");
    let mut texts = BTreeMap::new();
    let mut put = |text: String| {
        let name = base32(&keccak256(&text)[..16]);
        texts.insert(format!("{name}.{domain}"), text);
        name
    };
    let names: Vec<_> = nodes.iter().map(|node| put(node.clone())).collect();
    let records = put(format!("enrtree-branch:{}", names.join(",")));
    let links = put("enrtree-branch:".to_owned());
    let root = format!("enrtree-root:v1 e={records} l={links} seq=1");
    let mut signature =
        SECP256K1.sign_ecdsa(Digest::from_digest(keccak256(&root).0), &key).serialize_compact().to_vec();
    signature.push(0);
    texts.insert(domain.to_owned(), format!("{root} sig={}", base64(&signature)));
    let public = PublicKey::from_secret_key(SECP256K1, &key).serialize();
    (format!("enrtree://{}@{domain}", base32(&public)), texts)
}

fn base32(bytes: &[u8]) -> String {
    digits(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5)
}

fn base64(bytes: &[u8]) -> String {
    digits(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 6)
}

fn digits(bytes: &[u8], alphabet: &[u8], width: usize) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| {
        let value =
            bits.iter().chain(&[0; 8]).take(width).fold(0, |value, bit| value << 1 | usize::from(*bit));
        char::from(alphabet[value])
    };
    bits.chunks(width).map(digit).collect()
}
