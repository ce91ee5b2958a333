//! What is asked of peers, and what of their answers is taken.

use crate::peers_rig::{Rig, Script, connected, in_time, peer};
use alloy_primitives::B256;
use quintet_chain::peers::{GetBlockHeaders, HashOrNumber, RequestError, RequestKind};
use quintet_eth_wire::{
    AccountRange, ByteCodes, EthMessage, EthVersion, GetAccountRange, GetByteCodes, SnapMessage, Tagged,
};
use quintet_testkit::generate::Network;
use quintet_types::{Body, Header, Receipts};
use std::time::Duration;

const FIRST_TEN: GetBlockHeaders =
    GetBlockHeaders { start: HashOrNumber::Number(1), limit: 10, skip: 0, reverse: false };

async fn rig(version: EthVersion) -> (Rig, Script) {
    let rig = Rig::new(Network::Ethash, 10);
    let mut link = rig.link(1).await;
    link.up(1, version);
    connected(&rig, 1).await;
    (rig, link)
}

fn headers(rig: &Rig) -> Vec<Header> {
    rig.blocks.iter().map(|executed| executed.block.header().clone()).collect()
}

fn id_of(message: &EthMessage) -> u64 {
    match message {
        EthMessage::GetBlockHeaders(request) => request.id,
        EthMessage::GetBlockBodies(request)
        | EthMessage::GetReceipts(request)
        | EthMessage::GetNodeData(request)
        | EthMessage::GetPooledTransactions(request) => request.id,
        other => panic!("{other:?} is no request"),
    }
}

#[tokio::test]
async fn answers_of_all_kinds_come_to_who_asked() {
    for version in [EthVersion::Eth63, EthVersion::Eth66, EthVersion::Eth68, EthVersion::Eth69] {
        let (rig, mut link) = rig(version).await;
        let hashes: Vec<B256> = rig.blocks.iter().map(|executed| executed.block.hash).collect();
        let bodies: Vec<Body> = rig.blocks.iter().map(|executed| executed.block.block.body.clone()).collect();
        let receipts: Vec<Receipts> =
            rig.blocks.iter().map(|executed| Receipts::clone(&executed.receipts)).collect();
        let (all, id) = (headers(&rig), peer(1));
        let script = async {
            for _ in 0..3 {
                let (to, request) = link.message().await;
                assert_eq!(to, [id]);
                let answer = match request {
                    EthMessage::GetBlockHeaders(request) => {
                        assert_eq!(request.body, FIRST_TEN);
                        EthMessage::BlockHeaders(Tagged { id: request.id, body: all.clone() })
                    }
                    EthMessage::GetBlockBodies(request) => {
                        assert_eq!(request.body, hashes);
                        EthMessage::BlockBodies(Tagged { id: request.id, body: bodies.clone() })
                    }
                    EthMessage::GetReceipts(request) => {
                        assert_eq!(request.body, hashes);
                        EthMessage::Receipts(Tagged { id: request.id, body: receipts.clone() })
                    }
                    other => panic!("{other:?}"),
                };
                link.say(1, &answer);
            }
        };
        let asked = async {
            tokio::join!(
                rig.peers.headers(&id, FIRST_TEN),
                rig.peers.bodies(&id, hashes.clone()),
                rig.peers.receipts(&id, hashes.clone()),
            )
        };
        let (got, ()) = Box::pin(in_time("answers", async { tokio::join!(asked, script) })).await;
        assert_eq!(got.0.unwrap(), all);
        assert_eq!(got.1.unwrap(), bodies);
        assert_eq!(got.2.unwrap(), receipts);
        let peer = rig.peers.get(&id).unwrap();
        assert!(peer.capacity(RequestKind::Headers, Duration::from_secs(1)) > 1, "its speed is known");
        let has_node_data = rig.peers.node_data(&id, Vec::new());
        if version > EthVersion::Eth66 {
            let refused = has_node_data.await.unwrap_err();
            assert_eq!(refused, RequestError::Unsupported { kind: RequestKind::NodeData, version });
        }
    }
}

#[tokio::test]
async fn snap_is_asked_by_its_own_messages() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let id = peer(1);
    let range =
        GetAccountRange { id: 0, root: B256::ZERO, origin: B256::ZERO, limit: B256::ZERO, bytes: 1000 };
    let codes = GetByteCodes { id: 0, hashes: vec![B256::ZERO], bytes: 1000 };
    let script = async {
        for _ in 0..2 {
            let answer = match link.snap_message().await {
                SnapMessage::GetAccountRange(request) => SnapMessage::AccountRange(AccountRange {
                    id: request.id,
                    accounts: Vec::new(),
                    proof: vec![vec![1, 2, 3].into()],
                }),
                SnapMessage::GetByteCodes(request) => {
                    SnapMessage::ByteCodes(ByteCodes { id: request.id, codes: vec![vec![0x60].into()] })
                }
                other => panic!("{other:?}"),
            };
            link.say_snap(1, &answer);
        }
    };
    let asked = async { tokio::join!(rig.peers.account_range(&id, range), rig.peers.byte_codes(&id, codes)) };
    let ((range, codes), ()) = in_time("answers", async { tokio::join!(asked, script) }).await;
    assert_eq!(range.unwrap().proof.len(), 1);
    assert_eq!(codes.unwrap(), [vec![0x60]]);
}

#[tokio::test]
async fn one_request_of_a_kind_at_a_time_where_there_are_no_ids() {
    let (rig, mut link) = rig(EthVersion::Eth63).await;
    let id = peer(1);
    let one = |number| GetBlockHeaders { start: HashOrNumber::Number(number), limit: 1, ..FIRST_TEN };
    let all = headers(&rig);
    let script = async {
        let mut order = Vec::new();
        for _ in 0..2 {
            let (_, EthMessage::GetBlockHeaders(request)) = link.message().await else { panic!() };
            link.assert_silent().await;
            let HashOrNumber::Number(number) = request.body.start else { panic!() };
            let header = all[usize::try_from(number).unwrap() - 1].clone();
            link.say(1, &EthMessage::BlockHeaders(Tagged { id: 0, body: vec![header] }));
            order.push(number);
        }
        order
    };
    let asked = async { tokio::join!(rig.peers.headers(&id, one(3)), rig.peers.headers(&id, one(4))) };
    let ((third, fourth), order) = in_time("answers", async { tokio::join!(asked, script) }).await;
    assert_eq!((third.unwrap()[0].number, fourth.unwrap()[0].number), (3, 4));
    assert_eq!(order.len(), 2);
}

#[tokio::test]
async fn what_was_not_asked_for_costs_its_sender() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let (id, all) = (peer(1), headers(&rig));
    link.say(1, &EthMessage::BlockHeaders(Tagged { id: 99, body: all.clone() }));
    let (weight, reason) = link.penalty(1).await;
    assert!(weight >= 25 && reason.contains("nobody asked for"), "{weight}: {reason}");
    // Something else under the id that was asked with.
    let asked = rig.peers.headers(&id, FIRST_TEN);
    let script = async {
        let (_, request) = link.message().await;
        link.say(1, &EthMessage::BlockBodies(Tagged { id: id_of(&request), body: Vec::new() }));
        let penalty = link.penalty(1).await;
        link.disconnect(1).await;
        penalty
    };
    let (answer, (weight, reason)) = in_time("an answer", async { tokio::join!(asked, script) }).await;
    assert!(matches!(answer, Err(RequestError::Malformed { kind: RequestKind::Headers, .. })), "{answer:?}");
    assert!(weight >= 50 && reason.contains("bodies where headers were asked for"), "{weight}: {reason}");
    // More than was asked for.
    let asked = rig.peers.headers(&id, GetBlockHeaders { limit: 9, ..FIRST_TEN });
    let script = async {
        let (_, request) = link.message().await;
        link.say(1, &EthMessage::BlockHeaders(Tagged { id: id_of(&request), body: all.clone() }));
        let penalty = link.penalty(1).await;
        link.disconnect(1).await;
        penalty
    };
    let (answer, (_, reason)) = in_time("an answer", async { tokio::join!(asked, script) }).await;
    assert!(matches!(answer, Err(RequestError::Malformed { .. })));
    assert_eq!(reason, "10 headers where 9 were asked for");
    // Bytes that are none: the peer is sent away as well.
    let asked = rig.peers.headers(&id, FIRST_TEN);
    let script = async {
        let (_, request) = link.message().await;
        let bodies = EthMessage::BlockBodies(Tagged { id: id_of(&request), body: vec![Body::default()] });
        link.raw(1, link.eth(1), 4, bodies.encode(EthVersion::Eth68));
        (link.penalty(1).await, link.disconnect(1).await)
    };
    let (answer, ((weight, _), reason)) = in_time("an answer", async { tokio::join!(asked, script) }).await;
    assert!(matches!(answer, Err(RequestError::Malformed { .. })), "{answer:?}");
    assert_eq!((weight, reason), (50, 0x10));
}

/// Whichever bytes it sends for an answer, a peer goes at once: nobody waits until its requests time out.
#[tokio::test]
async fn an_answer_that_is_no_message_ends_the_connection() {
    type Garble = fn(u64, &EthMessage) -> Vec<u8>;
    let garbled: [(&str, Garble); 5] = [
        ("nothing", |_, _| Vec::new()),
        ("no list", |_, _| vec![0x2a; 300]),
        ("no headers", |id, _| alloy_rlp::encode(vec![id, 7, 7])),
        ("another id", |id, _| alloy_rlp::encode(vec![id ^ 1, 7, 7])),
        ("cut off", |_, message| {
            let whole = message.encode(EthVersion::Eth68);
            whole[..whole.len() - 1].to_vec()
        }),
    ];
    for (what, garble) in garbled {
        let (rig, mut link) = rig(EthVersion::Eth68).await;
        let (id, all) = (peer(1), headers(&rig));
        let asked = rig.peers.headers(&id, FIRST_TEN);
        let script = async {
            let (_, request) = link.message().await;
            let id = id_of(&request);
            let message = EthMessage::BlockHeaders(Tagged { id, body: all.clone() });
            link.raw(1, link.eth(1), 4, garble(id, &message));
            let (weight, _) = link.penalty(1).await;
            assert_eq!((weight, link.disconnect(1).await), (50, 0x10), "{what}");
            link.down(1);
        };
        let (answer, ()) = in_time("an end", async { tokio::join!(asked, script) }).await;
        assert!(
            matches!(answer, Err(RequestError::Malformed { .. } | RequestError::Gone)),
            "{what}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_leaves_answers_no_more() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let id = peer(1);
    let asked = rig.peers.headers(&id, FIRST_TEN);
    let script = async {
        link.message().await;
        link.down(1);
    };
    let (answer, ()) = in_time("an end", async { tokio::join!(asked, script) }).await;
    assert_eq!(answer, Err(RequestError::Gone));
    assert_eq!(rig.peers.headers(&id, FIRST_TEN).await, Err(RequestError::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_no_offence() {
    let (rig, mut link) = rig(EthVersion::Eth68).await;
    let (id, all) = (peer(1), headers(&rig));
    let asked = rig.peers.headers(&id, FIRST_TEN);
    let script = async {
        let (_, request) = link.message().await;
        id_of(&request)
    };
    let (answer, late) = tokio::join!(asked, script);
    assert_eq!(answer, Err(RequestError::Timeout(RequestKind::Headers)));
    link.say(1, &EthMessage::BlockHeaders(Tagged { id: late, body: all.clone() }));
    link.assert_silent().await;
    link.say(1, &EthMessage::BlockHeaders(Tagged { id: late, body: all }));
    let (_, reason) = link.penalty(1).await;
    assert!(reason.contains("nobody asked for"), "{reason}");
}
